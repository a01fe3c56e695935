import { expect, test } from "vitest";
import { Recovery } from "#contracts/vm/v1/vm";
import { systemClock } from "#libs/clock";
import { KeptVms } from "../kept-vms.ts";
import { FleetMachines } from "./fleet-machines.ts";
import { RunLedger } from "./run-ledger.ts";

const uid = "vm-1";

function hostOf(ledger: RunLedger, host: string) {
  let nowMs = 0;
  const clock = { ...systemClock, monotonicMs: () => nowMs, sleep: () => new Promise<void>(() => undefined) };
  const machines = new FleetMachines({ host, clock, ledger, random: () => 0 });
  const vms = new KeptVms(machines, { push: () => "", has: () => true }, () => new Date(0));
  ledger.knows(host, { runsNow: (of) => machines.runsNow(of) });
  const definition = { name: "vms/a", uid, cpus: 1, memoryBytes: 1, image: "", disks: [], ports: [] };
  const whole = { ...definition, userData: new Uint8Array(), kernelArgs: "", isolated: false };
  vms.perform(uid, { $case: "createVm", value: { definition: { ...whole, recovery: Recovery.RESTART } } });
  return {
    start: () => vms.perform(uid, { $case: "startVm", value: {} }),
    lease: (untilMs: number) => machines.fence().renew(untilMs),
    at: (ms: number) => {
      nowMs = ms;
    },
  };
}

test("a VM that starts while it runs elsewhere is found out; one whose lease has ended there runs no more", () => {
  const ledger = new RunLedger(() => undefined);
  const [a, b] = [hostOf(ledger, "a"), hostOf(ledger, "b")];
  expect(a.start).toThrow("has no lease");
  a.lease(100);
  a.start();
  expect(ledger.runningOn(uid)).toEqual(["a"]);
  a.at(100);
  b.lease(200);
  b.start();
  expect({ on: ledger.runningOn(uid), violations: ledger.violations }).toEqual({ on: ["b"], violations: [] });
  const c = hostOf(ledger, "c");
  c.lease(100);
  c.start();
  expect(ledger.violations).toEqual(["vm-1 starts on c while it runs on b"]);
});
