import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, test } from "vitest";
import { eventually } from "#libs/testing";
import { natsNodes } from "../harness/deployed-servers.ts";
import { whyNoNetwork } from "../harness/network.ts";
import { findQemus } from "../harness/qemu-process.ts";
import { cutOff, cuts } from "./cuts.ts";
import { faultRuns, natsBoundMs } from "./fault-run.ts";
import { expectNone } from "./invariant-violation.ts";
import { countOf } from "./matrix.ts";
import { OperationLoad } from "./operation-load.ts";
import {
  leased,
  type PartitionStage,
  parent,
  refusalsOf,
  setPartitionStage,
  untilItHasAPoint,
} from "./partition-stage.ts";
import { RunsOnce } from "./runs-once.ts";
import { Watched } from "./watched.ts";

const missing = await whyNoNetwork();
if (missing !== undefined) console.warn(`no partitions: ${missing}`);

const kinds = Object.keys(cuts);
/** In turn: gateway, NATS, a host, ... */
const count = countOf("partition");
const timeout = 3_600_000;

describe.skipIf(missing !== undefined)("F10: the network fails", () => {
  let stage: PartitionStage;
  const run = faultRuns(() => stage.cluster);
  beforeAll(async () => {
    stage = await setPartitionStage();
  }, 240_000);
  afterAll(() => stage[Symbol.asyncDispose](), 120_000);

  const machine = (name: string) => stage.cluster.network.machine(name);

  /** Some way of being cut off for some seconds, then everybody hears everybody. */
  async function cutForAWhile(what: string, one: string, others: readonly string[]): Promise<void> {
    const { network } = stage.cluster;
    const kind = run().pick(kinds);
    const ms = run().between(5_000, 8_000);
    run().fault(kind, `${what}, ${one} and ${others.join(", ")} for ${Math.round(ms)} ms`);
    await cutOff(
      network,
      machine(one),
      others.map((name) => (name === "here" ? network.here : machine(name))),
      cuts[kind] ?? cutNothing,
    );
    await sleep(ms);
    await network.heal();
  }

  const troubles: readonly (() => Promise<void>)[] = [
    () => cutForAWhile("the gateway and its clients", "proxy", ["here"]),
    async () => {
      const one = run().pick(natsNodes);
      await cutForAWhile(
        "a node of NATS and the others",
        one,
        natsNodes.filter((node) => node !== one),
      );
    },
  ];

  test("and no operation is lost, none runs twice, no event is left out", { timeout }, async () => {
    await using load = OperationLoad.start(stage.api, { probes: 2, vms: 2, image: "blank:1", host: "hosts/n3" });
    const watched = new Watched(stage.api, parent);
    await using runs = new RunsOnce(stage.cluster.folder);
    for (let round = 0; round < count; round++) {
      if (round % 3 === 2) await cutOffHost(round === 2 ? "partition" : run().pick(kinds));
      else await troubles[round % 3]?.();
      const before = load.counts.ended;
      await run().recovers("operations go on", () => load.counts.ended > before + 3, natsBoundMs);
    }
    await load.stop();
    watched.stop();
    await watched.untilStopped();
    run().accepted = load.counts.accepted;
    run().note(JSON.stringify({ ...load.counts, ...watched.counts, looks: runs.looks }));
    expectNone("I2 I3 I4 operations", await load.violations());
    expectNone("I1 ran twice", runs.violations);
    expectNone(
      "watches",
      watched.failures.filter((what) => what.startsWith("I9")),
    );
    expectNone("refused by NATS", await refusalsOf(stage));
  });

  const get = () => stage.api.vms.getVm({ name: leased });

  /** Its host and the control plane do not hear each other: it runs once, here or there, and goes on afterwards. */
  async function cutOffHost(kind: string): Promise<void> {
    await untilItHasAPoint(stage);
    const { host, uid } = await get();
    const from = host.slice("hosts/".length);
    run().fault(kind, `${from} and the control plane`);
    await cutOff(stage.cluster.network, machine(from), stage.control.map(machine), cuts[kind] ?? cutNothing);
    if (kind === "partition")
      await run().recovers("it runs elsewhere", async () => (await get()).host !== host && (await isSettled()), 60_000);
    else await sleep(run().between(5_000, 20_000));
    await stage.cluster.network.heal();
    await run().recovers("all hosts are ready, and it runs", () => isSettled(3), 60_000);
    const qemus = async () => (await findQemus(stage.cluster.folder)).filter(({ folder }) => folder.includes(uid));
    await eventually(async () => (await qemus()).length === 1, { deadlineMs: 30_000 });
  }

  async function isSettled(hostsReady = 2): Promise<boolean> {
    const { state, operation, stateReason } = await get();
    const { hosts } = await stage.api.hosts.listHosts({});
    const ready = hosts.filter((host) => host.state === "HOST_STATE_READY").length;
    return state === "VM_STATE_RUNNING" && operation === "" && stateReason === "" && ready >= hostsReady;
  }
});

const cutNothing = () => Promise.reject(new Error("there is no such cut"));
