import { OperationState, type OperationsClient, OperationsDefinition } from "#contracts/operation/v1/operation";
import { type Vm, type VmsClient, VmsDefinition } from "#contracts/vm/v1/vm";
import { createRpcClient } from "#libs/rpc";

/** The API of VMs and operations at one address, for tests that measure or race and cannot afford a process a call. */
export function connectVms(address: string, operationsAddress = address) {
  const vms: VmsClient = createRpcClient(VmsDefinition, address);
  const operations: OperationsClient = createRpcClient(OperationsDefinition, operationsAddress);
  return {
    vms,
    operations,
    finish: (accepted: { name?: string }) => finish(operations, accepted.name ?? ""),
    untilVm: (name: string, is: (vm: Vm) => boolean) => untilVm(vms, name, is),
  };
}

/** Waits for an operation; fails with its error unless it succeeded. */
export async function finish(operations: OperationsClient, name: string): Promise<void> {
  for await (const { done, state, error } of operations.watchOperation({ name })) {
    if (!done) continue;
    if (state !== OperationState.SUCCEEDED) throw new Error(`${name}: ${state}: ${error?.reason}: ${error?.message}`);
    return;
  }
}

/** Follows a VM by the pushed watch until it is as wanted. */
export async function untilVm(vms: VmsClient, name: string, is: (vm: Vm) => boolean): Promise<Vm> {
  const parent = name.split("/").slice(0, 2).join("/");
  for await (const { vm } of vms.watchVms({ parent })) {
    if (vm?.name === name && is(vm)) return vm;
  }
  throw new Error(`the watch ended before ${name} was as wanted`);
}
