import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { VmDefinition } from "#contracts/host/v1/agent";
import type { CheckpointStorage } from "#contracts/vm/v1/vm";
import { systemRandom } from "#libs/clock";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../../test/guest/build.ts";
import { chainOf } from "../checkpoints/layer-tree.ts";
import type { Manifest } from "../manifest.ts";
import { AgentProcess } from "./agent-process.ts";
import { cacheImage, type TestHost, vmDefinition } from "./test-host.ts";
import { expectWholeLayers } from "./whole-layers.ts";

export const MIB = 2 ** 20;
/** A merge of the tests' files takes seconds: long enough to be cut off. */
export const SLOWLY = { AGENT_MERGE_BYTES_PER_SECOND: String(12 * MIB) };

/** A VM whose second disk is taken, written to and merged, under an agent that can be killed. */
export class MergeStage implements AsyncDisposable {
  readonly #resources = new AsyncDisposableStack();
  #agent: AgentProcess | undefined;
  #vm: VmDefinition | undefined;
  #data = "";
  /** MD5, as that is quick, of the files in the guest that must be there, by path. */
  #expected: Readonly<Record<string, string>> = {};

  get agent(): AgentProcess {
    if (this.#agent === undefined) throw new Error("the stage is not open");
    return this.#agent;
  }

  get host(): TestHost {
    return this.agent.host;
  }

  get uid(): string {
    return this.#vm?.uid ?? "";
  }

  readonly open = async (diskMib: number): Promise<void> => {
    const folder = this.#resources.use(temporaryFolder());
    const nats = this.#resources.use(await startNats());
    const connection = await openNats({ url: nats.url });
    await openStreams(connection);
    await connection.close();
    this.#data = join(folder.path, "agent");
    this.#vm = vmDefinition(await cacheImage(this.#data, await buildGuest()), {
      disks: [
        { id: "root", sizeBytes: 0, excludeFromCheckpoints: false },
        { id: "disk1", sizeBytes: diskMib * MIB, excludeFromCheckpoints: false },
      ],
    });
    this.#agent = new AgentProcess({
      AGENT_DATA: this.#data,
      NATS_URL: nats.url,
      LOG_LEVEL: "error",
    });
    await this.agent.start();
    await this.host.act(this.uid, { $case: "createVm", value: { definition: this.#vm } });
    await this.start();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host.act(this.uid, { $case: "deleteVm", value: {} });
    await this.agent.end("SIGTERM");
    await this.#resources.disposeAsync();
  }

  readonly again = async (env: Readonly<Record<string, string>> = {}): Promise<void> => {
    await this.agent.end("SIGTERM");
    await this.agent.start(env);
  };

  readonly workload = () => this.host.client.getWorkload({ uid: this.uid });

  readonly start = async (): Promise<void> => {
    await this.host.act(this.uid, { $case: "startVm", value: {} });
    await eventually(async () => (await this.workload()).guestAgent?.connected, { deadlineMs: 30_000 });
  };

  readonly sh = (script: string) => this.host.exec(this.uid, "/bin/sh", "-c", script);

  /** Writes a file of random bytes and remembers its digest. */
  readonly write = async (name: string, mebibytes: number): Promise<void> => {
    const path = `/data2/${name}`;
    const dd = `dd if=/dev/urandom of=${path} bs=1M count=${mebibytes} 2>/dev/null`;
    const sum = await this.sh(`${dd}; sync; md5sum ${path}`);
    this.#expected = { ...this.#expected, [path]: sum.split(" ")[0] ?? "" };
  };

  /** A file that was written is not there any more. */
  readonly unexpect = (name: string): void => {
    const left = Object.entries(this.#expected).filter(([path]) => path !== `/data2/${name}`);
    this.#expected = Object.fromEntries(left);
  };

  /** What the guest reads from its disks, not from its memory. */
  readonly expectContent = async (): Promise<void> => {
    const paths = Object.keys(this.#expected).join(" ");
    const sums = await this.sh(`sync; echo 3 >/proc/sys/vm/drop_caches; md5sum ${paths}`);
    const read = sums.split("\n").filter(Boolean);
    expect(Object.fromEntries(read.map((line) => line.split(/ +/).toReversed()))).toEqual(this.#expected);
  };

  readonly take = async (): Promise<string> => {
    const checkpointUid = systemRandom.id("ckpt");
    const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] };
    const { checkpoint } = await this.host.act(this.uid, { $case: "takeProduction", value });
    expect(checkpoint?.refusedReason).toBe("");
    return checkpointUid;
  };

  readonly apply = (checkpointUid: string) =>
    this.host.act(this.uid, {
      $case: "applyCheckpoint",
      value: { checkpointUid, generationId: crypto.randomUUID(), leaveOff: false },
    });

  readonly remove = (...checkpointUids: string[]) =>
    this.host.act(this.uid, { $case: "removeCheckpoints", value: { checkpointUids } });

  readonly storage = async (): Promise<CheckpointStorage> => {
    const { storage: found } = await this.workload();
    if (found === undefined) throw new Error("the agent does not tell sizes");
    return found;
  };

  readonly merged = () => eventually(async () => (await this.storage()).mergeDebtBytes === 0, { deadlineMs: 60_000 });

  readonly inTheMiddle = () =>
    eventually(async () => (await this.storage()).mergeDoneBytes > MIB, { deadlineMs: 20_000, everyMs: 50 });

  /** Bytes are written on and on until it is disposed of; then the last number of the log is as many as it has lines. */
  readonly guestWriting = async (): Promise<AsyncDisposable> => {
    const once = "i=$((i+1)); echo $i >>/data2/log; sync; usleep 20000";
    await this.sh(`(i=0; while [ ! -e /data2/stop ]; do ${once}; done) >/dev/null 2>&1 & echo $! >/run/writing`);
    return {
      [Symbol.asyncDispose]: async () => {
        // Where the machine was killed meanwhile nobody writes any more.
        const stopped = "touch /data2/stop; while kill -0 $(cat /run/writing) 2>/dev/null; do usleep 20000; done";
        const last = await this.sh(`${stopped}; sync; wc -l </data2/log; tail -n 1 /data2/log`);
        const [lines, number] = last.trim().split(/\s+/).map(Number);
        expect(number).toBe(lines);
        expect(number).toBeGreaterThan(1);
        await this.sh("rm /data2/stop /data2/log; sync");
      },
    };
  };

  /** The layers of the second disk from the bottom up. */
  readonly layers = async (): Promise<string[]> => {
    const manifest = JSON.parse(await readFile(join(this.root, "manifest.json"), "utf8")) as Manifest;
    return chainOf(manifest, manifest.disks.disk1?.now ?? "");
  };

  /** While no agent is there, QEMU's control socket is free to be asked. */
  readonly expectWhole = async (): Promise<void> => {
    await this.agent.end("SIGTERM");
    await expectWholeLayers(this.root);
    await this.agent.start();
  };

  /** The workload's folder. */
  get root(): string {
    return join(this.#data, "workloads", this.uid);
  }
}
