import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { OperationState } from "#contracts/operation/v1/operation";
import { VmState } from "#contracts/vm/v1/vm";
import { isStillpointError } from "#libs/errors";
import { untilVm } from "../harness/vm-client.ts";
import { carryThrough, carryToEnd, untilAnswered } from "./patient-api.ts";
import type { Scenario } from "./scenario.ts";
import { checkpointsOf, deleteVm, runInGuest, type Stage } from "./stage.ts";

export const freshId = (prefix: string) => `${prefix}-${crypto.randomUUID().slice(0, 8)}`;
export const nameOf = (vmId: string) => `projects/default/vms/${vmId}`;

/** A VM is made from a standard checkpoint, goes on at its instant, and has that checkpoint once. */
export const cloning: Scenario = {
  async act({ cluster, base }) {
    const vmId = freshId("clone");
    await carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.cloneCheckpoint({ name: base, vmId, start: true, requestId }),
    );
    return nameOf(vmId);
  },
  verify: expectNewVm,
  cleanUp: ({ cluster }, name) => deleteVm(cluster, name),
};

/** A clone that QEMU cannot start, as its port is taken by somebody else on the host: it is unmade. */
export const cloningInVain: Scenario = {
  async act({ cluster, production }) {
    await using taken = await takenPort();
    const vmId = freshId("vain");
    const ports = [{ hostPort: taken.port, guestPort: 80 }];
    const { state } = await carryToEnd(cluster, (requestId) =>
      cluster.api.checkpoints.cloneCheckpoint({ name: production, vmId, start: true, ports, requestId }),
    );
    if (state !== OperationState.FAILED) throw new Error(`the clone whose port is taken is ${state}`);
    return nameOf(vmId);
  },
  verify: expectNoVm,
};

/** A VM that was made from a checkpoint runs, and has that checkpoint once. */
export async function expectNewVm({ cluster }: Stage, name: string): Promise<void> {
  await untilVm(cluster.api.vms, name, ({ state }) => state === VmState.RUNNING);
  await runInGuest(cluster, name, "sh", "-c", "echo alive >/data/alive && sync");
  const { length } = await checkpointsOf(cluster, name);
  if (length !== 1) throw new Error(`${name} has ${length} checkpoints`);
}

export async function expectNoVm({ cluster }: Stage, name: string): Promise<void> {
  const found = await untilAnswered(() => cluster.api.vms.getVm({ name })).catch((error: unknown) => {
    if (!isStillpointError(error, "VM_NOT_FOUND")) throw error;
  });
  if (found !== undefined) throw new Error(`${name} is still there, ${found.state}`);
}

/** A checkpoint is tried, and the clone is gone whatever happened. */
export const drilling: Scenario = {
  async act({ cluster, base }) {
    await carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.drillCheckpoint({ name: base, command: ["/bin/true"], requestId }),
    );
    return base;
  },
  verify: expectProven,
};

async function expectProven({ cluster }: Stage, name: string): Promise<void> {
  const { provenTime, lastDrill, operation } = await untilAnswered(() =>
    cluster.api.checkpoints.getCheckpoint({ name }),
  );
  if (provenTime === undefined || lastDrill?.passed !== true) throw new Error(`${name} is not proven`);
  if (operation !== "") throw new Error(`${name} is still held by ${operation}`);
  const { vms } = await cluster.api.vms.listVms({ parent: "projects/default" });
  const left = vms.filter((vm) => vm.name.includes("/drill-"));
  if (left.length > 0) throw new Error(`left behind: ${left.map((vm) => vm.name).join(", ")}`);
}

async function takenPort(): Promise<AsyncDisposable & { readonly port: number }> {
  const server: Server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: async () => void server.close() };
}
