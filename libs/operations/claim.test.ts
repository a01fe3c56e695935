import { expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { type AppendOptions, type LogMessage, MemoryLog } from "#libs/records";
import { Claim } from "./claim.ts";
import { newOperation } from "./new-operation.ts";
import { OperationLog } from "./operation-log.ts";
import { decodeOperation } from "./operation-record.ts";
import { acceptedBy, stepDone, touched } from "./operation-state.ts";

const job = {
  steps: ["place", "make", "start"].map((name) => ({ name, run: async () => undefined })),
  conclude: async () => undefined,
};
const asked = { kind: "vm.create", target: "", input: {}, principal: "local", project: "default" };
const placed = stepDone(job, { output: { host: "hosts/n1" }, skipped: false });

/** Its answers may be those of a node that has lost its part in the cluster. */
class TroubledLog extends MemoryLog {
  /** Does the next write, and says afterwards that another was first. */
  forgets = false;
  /** How many reads are answered with `old`. */
  readsOld = 0;
  old: LogMessage | undefined;

  override async append(subject: string, data: Uint8Array, options: AppendOptions): Promise<number> {
    const sequence = await super.append(subject, data, options);
    if (!this.forgets) return sequence;
    this.forgets = false;
    throw new StillpointError("RECORD_CONFLICT", "it has moved on");
  }

  override async read(subject: string): Promise<LogMessage | undefined> {
    return this.readsOld-- > 0 ? this.old : await super.read(subject);
  }
}

async function claimOne() {
  const log = new TroubledLog(clock, { maxPerSubject: 1 });
  const operations = new OperationLog(log, clock);
  const accepted = acceptedBy(job, "w1")(newOperation("op-1", asked, {}, { clock, random }));
  const claim = Claim.of(operations, "w1", await operations.create(accepted, { forMs: 1_000 }));
  log.old = await log.read("op.op-1");
  return { claim, log };
}

test("a step whose write was taken for another's is done once", async () => {
  const { claim, log } = await claimOne();
  log.forgets = true;
  await claim.commit(placed);
  expect(claim.record).toMatchObject({ step: "make", outputs: { place: { host: "hosts/n1" } } });
  expect(claim.record.outputs).not.toHaveProperty("make");
});

test("a node that tells of the past takes nothing from what is known", async () => {
  const { claim, log } = await claimOne();
  await claim.commit(placed);
  Object.assign(log, { forgets: true, readsOld: 2 });
  const seen = new Set<string>();
  const committed = claim.commit(touched);
  const looks = setInterval(() => seen.add(claim.record.step), 5);
  await committed;
  clearInterval(looks);
  expect([...seen]).toEqual(["make"]);
  expect(claim.record.outputs).toEqual({ place: { host: "hosts/n1" } });
});

test("a step is not done for another one, to which the log has fallen back", async () => {
  const { claim, log } = await claimOne();
  await claim.commit(placed);
  const fallenBack = await log.append("op.op-1", log.old?.data ?? new Uint8Array(), { expectedSequence: 2 });
  claim.notice({ record: decodeOperation(log.old as LogMessage).record, version: fallenBack });
  expect(claim.signal.aborted).toBe(true);
  await expect(claim.commit(placed)).rejects.toThrow("the log has lost what was written of it");
});

test("a cancel that is told of while a step is written is heard", async () => {
  const { claim, log } = await claimOne();
  const isCancelled = new Promise<void>((resolve) => claim.onCancel(resolve));
  log.onAppend = (message) => {
    log.onAppend = undefined;
    const { record, version } = decodeOperation(message);
    claim.notice({ record: { ...record, cancelRequested: true }, version: version + 1 });
  };
  await claim.commit(placed);
  await isCancelled;
  expect(claim.record).toMatchObject({ step: "make", cancelRequested: true });
});
