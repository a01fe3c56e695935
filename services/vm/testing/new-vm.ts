import { type Vm, VmSpec } from "#contracts/vm/v1/vm";
import type { VmPlane } from "./vm-plane.ts";

/** A name that no VM has had, with what a test asks of it. */
export interface NewVm {
  readonly name: string;
  readonly vmId: string;
  /** A request that is right, but for what the test says otherwise. */
  asked(differs?: Partial<VmSpec>): { parent: string; vmId: string; spec: VmSpec };
  /** Makes it and gives it. */
  made(options?: { start?: boolean }): Promise<Vm>;
  get(): Promise<Vm>;
}

let count = 0;

/** Also makes the stand-ins work again that a test before has made fail. */
export function newVm(plane: VmPlane): NewVm {
  plane.placeFailure = undefined;
  plane.agent.failing.clear();
  plane.agent.holding.clear();
  const vmId = `vm-${++count}`;
  const name = `projects/default/vms/${vmId}`;
  const asked = (differs: Partial<VmSpec> = {}) => ({
    parent: "projects/default",
    vmId,
    spec: VmSpec.fromPartial({ image: "guest:1", cpus: 1, memoryBytes: 2 ** 28, ...differs }),
  });
  const get = () => plane.vms.getVm({ name });
  const made = async ({ start = false } = {}) => {
    await plane.succeeded(await plane.vms.createVm({ ...asked(), start }));
    return get();
  };
  return { name, vmId, asked, made, get };
}
