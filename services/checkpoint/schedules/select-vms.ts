import type { Schedule } from "#contracts/checkpoint/v1/schedule";
import type { Vm } from "#contracts/vm/v1/vm";
import { parseScheduleName, projectName } from "#libs/names";
import type { RecordStore, RecordView } from "#libs/records";
import type { Workload } from "../records/checkpoint-store.ts";

export interface SelectDeps {
  readonly vms: RecordStore<Vm>;
  readonly vmView: Pick<RecordView<Vm>, "list">;
  readonly containerView: Pick<RecordView<Vm>, "list">;
}

/** The VMs that a schedule is for now, then the containers, in order of name. One that it names is among them also when it is gone. */
export async function selectVms({ vms, vmView, containerView }: SelectDeps, schedule: Schedule): Promise<Workload[]> {
  if (schedule.vm !== "") {
    const vm = await vms.get(schedule.vm);
    return [{ name: schedule.vm, uid: vm?.uid ?? "" }];
  }
  const wanted = Object.entries(schedule.labelSelector);
  const { project } = parseScheduleName(schedule.name);
  const parent = projectName(project);
  return [...vmView.list(`${parent}/vms/`), ...containerView.list(`${parent}/containers/`)]
    .filter(({ body }) => wanted.every(([key, value]) => body.labels[key] === value))
    .map(({ name, uid }) => ({ name, uid }));
}
