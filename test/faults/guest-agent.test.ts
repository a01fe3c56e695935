import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Checkpoint, CheckpointKind, Consistency } from "#contracts/checkpoint/v1/checkpoint";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { casesOf, eventually } from "#libs/testing";
import { findQemus, type QemuProcess } from "../harness/qemu-process.ts";
import { untilVm } from "../harness/vm-client.ts";
import { AgentChannel, type Misbehaviour } from "./agent-channel.ts";
import { faultRuns } from "./fault-run.ts";
import { checkInvariants } from "./invariants.ts";
import { carryToEnd } from "./patient-api.ts";
import { checkChain } from "./sound-chain.ts";
import { checkpointsOf, runInGuest, type Stage, setStage, subject, takeCheckpoint } from "./stage.ts";

const freeze = "guest-fsfreeze-freeze";
const thaw = "guest-fsfreeze-thaw";

/** Replies to one command are replaced; the others pass. */
const on =
  (wanted: string, replies: Misbehaviour): Misbehaviour =>
  (command, reply) =>
    command === wanted ? replies(command, reply) : [reply];

interface Case {
  readonly what: string;
  readonly behaviour: Misbehaviour;
  /** Reason code of the fallback. */
  readonly reason: RegExp;
}

const short: readonly Case[] = [
  { what: "is mute", behaviour: () => [], reason: /^agent\.unresponsive$/ },
  {
    what: "forbids the freeze",
    behaviour: on("guest-info", (_, reply) => [
      reply.replace(/("enabled": *)true(, *"name": *"guest-fsfreeze-freeze")/, "$1false$2"),
    ]),
    reason: /^agent\.rpc_disabled$/,
  },
  {
    what: "says that the freeze failed",
    behaviour: on(freeze, () => [JSON.stringify({ error: { class: "GenericError", desc: "failed to freeze /data" } })]),
    reason: /^freeze\.error$/,
  },
  { what: "has frozen nothing", behaviour: on(freeze, () => ['{"return": 0}']), reason: /^freeze\.none_frozen$/ },
  {
    what: "answers the freeze too late",
    behaviour: on(freeze, async (_, reply) => {
      await delay(6_000);
      return [reply];
    }),
    reason: /^(agent\.unresponsive|freeze\.window_exceeded)$/,
  },
  {
    what: "has thawed fewer than it froze",
    behaviour: on(thaw, () => ['{"return": 0}']),
    reason: /^thaw\.count_mismatch$/,
  },
  {
    what: "says that the thaw failed",
    behaviour: on(thaw, () => [JSON.stringify({ error: { class: "GenericError", desc: "failed to thaw" } })]),
    reason: /^thaw\.error$/,
  },
  { what: "never answers the thaw", behaviour: onceMute(thaw), reason: /^agent\.unresponsive$/ },
];
const cases = casesOf(short, [
  { what: "talks nonsense", behaviour: () => ["\u0000}{ not JSON"], reason: /^agent\.unresponsive$/ },
]);
const writers = casesOf([["fails", "echo no >&2; exit 1"]], [["hangs", "sleep 60"]]);

/** The guest does it, and its first word of it is lost. */
function onceMute(wanted: string): Misbehaviour {
  let lost = false;
  return on(wanted, (_, reply) => {
    if (lost) return [reply];
    lost = true;
    return [];
  });
}

/** Each has its own name: the next freeze asks one that has failed to go on once more. */
const writerThat = (what: string): string => `/etc/qemu/fsfreeze-hook.d/faulty-${what}`;

/** Puts a writer into the guest that holds still, and does this when it is to go on. */
function writerOnThaw(writer: string, line: string): string {
  return `printf '#!/bin/sh\\n[ "$1" = thaw ] || exit 0\\n${line}\\n' >${writer}; chmod 755 ${writer}; sync`;
}

describe("F11: the guest's agent", () => {
  let stage: Stage;
  let qemu: QemuProcess;
  let channel: AgentChannel;
  const run = faultRuns(() => stage.cluster);
  let owned: AsyncDisposableStack;
  beforeAll(async () => {
    await using stack = new AsyncDisposableStack();
    stage = stack.use(await setStage({}, {}, { freezeSeconds: 5 }));
    const [found] = await findQemus(stage.cluster.folder);
    if (found === undefined) throw new Error("no QEMU runs");
    qemu = found;
    channel = stack.use(await AgentChannel.interpose(qemu));
    const { agent } = stage.cluster.services;
    const { deaths } = agent;
    agent.kill("SIGKILL");
    await agent.untilDead(deaths, 5_000);
    await runInGuest(stage.cluster, subject, "true");
    owned = stack.move();
  }, 240_000);
  afterAll(() => owned[Symbol.asyncDispose](), 120_000);

  test.each(cases)("$what: a standard checkpoint, which says why", async ({ behaviour, reason }) => {
    const taken = await takeWhile(behaviour);
    expect(taken).toMatchObject({
      kind: CheckpointKind.STANDARD,
      consistency: Consistency.SAVED_STATE,
      fellBack: true,
    });
    expect(taken.reason).toMatch(reason);
    expect(taken.receipt).toMatchObject({ requestedType: "production", fellBack: true, reason: taken.reason });
    await soundAfterwards();
  });

  test.for(writers)(
    "has a writer that %s in the thaw: a standard checkpoint, which says so",
    async ([what = "", line = ""]) => {
      const writer = writerThat(what);
      await runInGuest(stage.cluster, subject, "sh", "-c", writerOnThaw(writer, line));
      const taken = await takeWhile((_command, reply) => [reply]);
      expect(taken).toMatchObject({ kind: CheckpointKind.STANDARD, fellBack: true });
      expect(taken.reason).toBe("hook.failed");
      await runInGuest(stage.cluster, subject, "rm", writer);
      await soundAfterwards();
    },
  );

  test("answers an old request: what it says is not taken for the freeze's own answer", async () => {
    const taken = await takeWhile(on(freeze, (_, reply) => ['{"return": 1}', reply]));
    const proven = taken.kind === CheckpointKind.PRODUCTION;
    expect(taken.receipt).toMatchObject(proven ? { verification: { result: "clean" } } : { fellBack: true });
    await soundAfterwards();
  });

  test("production-only: refused with the reason, and nothing is left", async () => {
    const before = (await checkpointsOf(stage.cluster, subject)).length;
    using _fault = channel.misbehave(on(thaw, () => ['{"return": 0}']));
    const { error } = await carryToEnd(stage.cluster, (requestId) =>
      stage.cluster.api.checkpoints.createCheckpoint({
        parent: subject,
        displayName: "never",
        type: CheckpointType.PRODUCTION_ONLY,
        requestId,
      }),
    );
    expect(error).toMatchObject({ reason: "PRODUCTION_NOT_REACHED" });
    expect(error?.message).toContain("thaw.count_mismatch");
    expect((await checkpointsOf(stage.cluster, subject)).length).toBe(before);
    await soundAfterwards();
  });

  async function takeWhile(behaviour: Misbehaviour): Promise<Checkpoint> {
    const { cluster } = stage;
    using _fault = channel.misbehave(behaviour);
    run().fault("wrong answers of a guest");
    const name = await takeCheckpoint(cluster, subject, CheckpointType.PRODUCTION);
    return await cluster.api.checkpoints.getCheckpoint({ name });
  }

  /** The VM runs, its guest writes, so that nobody left it frozen, and its chain is sound. */
  async function soundAfterwards(): Promise<void> {
    await runInGuest(stage.cluster, subject, "sh", "-c", "echo alive >/data/alive && sync");
    await untilVm(stage.cluster.api.vms, subject, ({ state }) => state === VmState.RUNNING);
    await eventually(() => checkChain(qemu).then(() => true));
    await checkInvariants(stage.cluster);
  }
});
