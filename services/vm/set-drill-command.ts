import type { SetDrillCommandRequest, Vm } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { parseVmName } from "#libs/names";
import type { RecordStore, StoredRecord } from "#libs/records";
import { drillCommandProblems } from "./domain/validate-spec.ts";
import { vmEvent, vmNotFound } from "./vm-record.ts";

/** Changes what a drill runs in a clone of the VM. */
export async function setDrillCommand(
  vms: RecordStore<Vm>,
  { name, drillCommand }: SetDrillCommandRequest,
): Promise<StoredRecord<Vm>> {
  parseVmName(name);
  const [problem] = drillCommandProblems("drill_command", drillCommand);
  if (problem !== undefined) {
    throw new StillpointError("ARGUMENT_INVALID", `${problem.field} ${problem.message}`, {
      metadata: { field: problem.field },
    });
  }
  const stored = await vms.modify(name, ({ body }) => {
    const { spec } = body;
    if (spec === undefined || JSON.stringify(spec.drillCommand) === JSON.stringify(drillCommand)) return undefined;
    const event = vmEvent("drill_command_changed", body, { from: spec.drillCommand, to: drillCommand });
    return { body: { ...body, spec: { ...spec, drillCommand } }, events: [event] };
  });
  if (stored === undefined) throw vmNotFound(name);
  return stored;
}
