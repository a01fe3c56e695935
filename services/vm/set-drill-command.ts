import type { SetDrillCommandRequest, Vm } from "#contracts/vm/v1/vm";
import { parseVmName } from "#libs/names";
import type { RecordStore, StoredRecord } from "#libs/records";
import { commandProblems } from "#libs/spec-checks";
import { notFound, refuseProblems } from "#libs/workloads";
import { vmKind } from "./vm-kind.ts";
import { vmEvent } from "./vm-record.ts";

/** Changes what a drill runs in a clone of the VM. */
export async function setDrillCommand(
  vms: RecordStore<Vm>,
  { name, drillCommand }: SetDrillCommandRequest,
): Promise<StoredRecord<Vm>> {
  parseVmName(name);
  refuseProblems(commandProblems("drill_command", drillCommand));
  const stored = await vms.modify(name, ({ body }) => {
    const { spec } = body;
    if (spec === undefined || JSON.stringify(spec.drillCommand) === JSON.stringify(drillCommand)) return undefined;
    const event = vmEvent("drill_command_changed", body, { from: spec.drillCommand, to: drillCommand });
    return { body: { ...body, spec: { ...spec, drillCommand } }, events: [event] };
  });
  if (stored === undefined) throw notFound(vmKind, name);
  return stored;
}
