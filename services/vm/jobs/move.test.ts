import { expect, test } from "vitest";
import { Recovery } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { startRecoveryStage } from "../testing/recovery-stage.ts";
import { away } from "../testing/stage-hosts.ts";

const input = { timeoutSeconds: 30, staysStopped: false };
const waits = { spec: { cpus: 1, recovery: Recovery.NONE } } as never;

type Stage = Awaited<ReturnType<typeof startRecoveryStage>>;

/** Moves it to n2, which dies for good as soon as it is to start there. */
async function moveToADyingHost({ ask, hosts, vm }: Stage) {
  hosts.of("n2").answer = (action) => {
    if (action !== "startVm") return;
    hosts.fail("n2");
    away();
  };
  const move = await ask("move", input);
  await eventually(async () => (await vm())?.host === "hosts/n2" && hosts.of("n2").state === "HOST_STATE_DOWN");
  return move;
}

test("a host that dies for good when a VM has come to it is forgotten, and the VM is where it was", async () => {
  await using stage = await startRecoveryStage({ vm: waits, attempts: 2 });
  const { hosts } = stage;
  const move = await stage.ended(await moveToADyingHost(stage));
  expect(move).toMatchObject({ state: "OPERATION_STATE_NEEDS_ATTENTION", error: { reason: "UNDO_FAILED" } });
  const vm = await stage.vm();
  expect(vm).toMatchObject({ host: "hosts/n2", state: "VM_STATE_STOPPED", movedFrom: { host: "hosts/n1" } });
  expect(vm?.stateReason).toBe("it was moved to hosts/n2, which does not answer; hosts/n1 has it as it was then");
  expect(hosts.released).toEqual([]);
  await stage.lose("n2");
  const back = await stage.vm();
  expect(back).toMatchObject({ host: "hosts/n1", state: "VM_STATE_STOPPED", movedFrom: undefined });
  expect(back?.stateReason).toBe("hosts/n2 was lost; it is as it was when it was moved there");
  expect(await stage.ended(await stage.ask("start"))).toMatchObject({ state: "OPERATION_STATE_SUCCEEDED" });
  expect(hosts.asked.at(-1)).toBe("n1 startVm");
});

test("when that host comes back instead, it is started there; deleted, it is gone from both", async () => {
  await using stage = await startRecoveryStage({ vm: waits, attempts: 2 });
  const { hosts } = stage;
  await stage.ended(await moveToADyingHost(stage));
  hosts.bringBack("n2");
  await stage.ended(await stage.ask("start"));
  expect(await stage.vm()).toMatchObject({ host: "hosts/n2", state: "VM_STATE_RUNNING", stateReason: "" });
  await stage.ended(await stage.remove());
  expect(hosts.asked.slice(-2)).toEqual(["n2 deleteVm", "n1 deleteVm"]);
  expect(await stage.vm()).toBeUndefined();
});

test.for([
  ["goes on where it came from, as it was then", new Date(0), ""],
  ["comes from its point where that is newer", new Date("2100-01-01"), "recovery/default/db@sha256:1"],
] as const)("one that is to be recovered %s", async ([_how, pointTime, reference]) => {
  await using stage = await startRecoveryStage({ pointTime });
  const { hosts } = stage;
  const move = await moveToADyingHost(stage);
  hosts.asked.length = 0;
  const { output } = (await stage.ended(await stage.recover("n2"))) ?? {};
  expect(output).toMatchObject({ from: "hosts/n2", to: "hosts/n1", reference });
  expect(hosts.asked.includes("n1 receiveCheckpoint")).toBe(reference !== "");
  expect(await stage.ended(move)).toMatchObject({ error: { reason: "OPERATION_SUPERSEDED" } });
  expect(await stage.vm()).toMatchObject({ host: "hosts/n1", state: "VM_STATE_RUNNING", movedFrom: undefined });
});
