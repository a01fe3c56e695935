import { type Vm, VmsDefinition } from "#contracts/vm/v1/vm";
import { followObservations } from "#libs/host-agent";
import type { Lifecycle } from "#libs/lifecycle";
import { createLogger } from "#libs/logger";
import { natsHealth } from "#libs/records";
import { RpcServer } from "#libs/rpc";
import { type CheckpointPolicy, openWorkloads } from "#libs/workloads";
import type { VmConfig } from "./config.ts";
import { vmHandlers } from "./handlers.ts";
import { vmJobs } from "./jobs/vm-jobs.ts";
import { Observations } from "./observations.ts";
import { vmKind } from "./vm-kind.ts";

/** Wires the service together. With `server`, the API is added there and `address` is empty. */
export async function startVm(
  config: VmConfig,
  lifecycle: Lifecycle,
  { server }: { server?: RpcServer } = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "vm", level: config.LOG_LEVEL });
  const { signal } = lifecycle;
  const filter = "rec.projects.*.vms.*";
  const deps = await openWorkloads(config, lifecycle, { kind: vmKind, filter, policy, logger });
  deps.run(vmJobs(deps), config.OPERATION_TTL_MS);
  const observations = new Observations({ ...deps, vms: deps.records });
  const following = followObservations({ ...deps, service: "vm", filter: "obs.vm.>", signal }, (...seen) =>
    observations.fold(...seen),
  );
  lifecycle.add("observations", { following }, (it) => it.following);

  const handlers = vmHandlers(deps);
  if (server !== undefined) {
    server.add(VmsDefinition, handlers);
    return { address: "" };
  }
  const own = new RpcServer({ logger, health: natsHealth(deps.nats) }).add(VmsDefinition, handlers);
  lifecycle.add("grpc", own, (it) => it.close());
  return { address: await own.listen(config.VM_ADDRESS) };
}

const policy: CheckpointPolicy<Vm> = {
  ownType: ({ spec }) => spec?.checkpointType ?? "CHECKPOINT_TYPE_UNSPECIFIED",
  excludes: ({ spec }) => spec?.disks.some(({ excludeFromCheckpoints }) => excludeFromCheckpoints) ?? false,
};
