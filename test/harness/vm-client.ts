import {
  type Operation,
  OperationState,
  type OperationsClient,
  OperationsDefinition,
} from "#contracts/operation/v1/operation";
import { type Vm, type VmsClient, VmsDefinition } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { createRpcClient, type RpcCallOptions, type RpcClientOptions } from "#libs/rpc";

/** The API of VMs and operations at one address, for tests that measure or race and cannot afford a process a call. */
export function connectVms(address: string, operationsAddress = address, options: RpcClientOptions = {}) {
  const vms: VmsClient = createRpcClient(VmsDefinition, address, options);
  const operations: OperationsClient<RpcCallOptions> = createRpcClient(
    OperationsDefinition,
    operationsAddress,
    options,
  );
  return {
    vms,
    operations,
    finish: (accepted: { name?: string }) => finish(operations, accepted.name ?? ""),
    untilVm: (name: string, is: (vm: Vm) => boolean) => untilVm(vms, name, is),
  };
}

/** Waits for an operation; fails with its error unless it succeeded. */
export async function finish(operations: OperationsClient<RpcCallOptions>, name: string): Promise<void> {
  expectSuccess(await untilDone(operations, name));
}

/** Waits for an operation to end, however it does; fails with UNAVAILABLE when nothing is heard of it for so long. */
export async function untilDone(
  operations: OperationsClient<RpcCallOptions>,
  name: string,
  idleTimeoutMs?: number,
): Promise<Operation> {
  const options = idleTimeoutMs === undefined ? {} : { idleTimeoutMs };
  for await (const operation of operations.watchOperation({ name }, options)) {
    if (operation.done) return operation;
  }
  throw new StillpointError("UNAVAILABLE", `the watch of ${name} ended before it did`);
}

export function expectSuccess({ name, state, error }: Operation): void {
  if (state !== OperationState.SUCCEEDED) throw new Error(`${name}: ${state}: ${error?.reason}: ${error?.message}`);
}

/** Follows a VM by the pushed watch until it is as wanted. */
export async function untilVm(vms: VmsClient, name: string, is: (vm: Vm) => boolean): Promise<Vm> {
  const parent = name.split("/").slice(0, 2).join("/");
  for await (const { vm } of vms.watchVms({ parent })) {
    if (vm?.name === name && is(vm)) return vm;
  }
  throw new Error(`the watch ended before ${name} was as wanted`);
}
