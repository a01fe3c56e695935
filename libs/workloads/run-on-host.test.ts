import { expect, test } from "vitest";
import { StillpointError } from "#libs/errors";
import type { AgentAction, StepContext } from "#libs/host-agent";
import { runOnHost } from "./run-on-host.ts";

const context = {} as StepContext;
const at = { host: "hosts/n1", uid: "vm-1" };
const failing = (error: Error) => ({
  async runStep(): Promise<never> {
    throw error;
  },
});
const expired = new StillpointError("LEASE_EXPIRED", "hosts/n1 has no lease");

test.each<[AgentAction, string]>([
  [{ $case: "startVm", value: {} }, "HOST_UNREACHABLE"],
  [{ $case: "pauseVm", value: {} }, "LEASE_EXPIRED"],
])("a host without its lease: %o fails with %s, of which the first is tried again", async (action, reason) => {
  const step = { at, step: "step", action };
  await expect(runOnHost(failing(expired), context, step)).rejects.toMatchObject({ reason });
});

test("another failure to start is what it is", async () => {
  const error = new StillpointError("QEMU_FAILED", "it ended");
  const step = { at, step: "start", action: { $case: "startVm", value: {} } } as const;
  await expect(runOnHost(failing(error), context, step)).rejects.toBe(error);
});
