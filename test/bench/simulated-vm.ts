import { Vm } from "#contracts/vm/v1/vm";

const gib = 2 ** 30;

/** A VM as its record says it when it has run for a while: two disks, a port, a guest agent, what a checkpoint would give. */
export function simulatedVm(parent: string, index: number): Vm {
  const name = `${parent}/vms/web-${index.toString(36).padStart(4, "0")}`;
  const time = new Date(Date.UTC(2026, 0, 1) + index * 1_000);
  return Vm.fromPartial({
    ...{ name, uid: `vm-0192f0c1-0000-7000-8000-${index.toString(16).padStart(12, "0")}` },
    ...{ state: "VM_STATE_RUNNING", host: `hosts/h-${index % 5_000}`, createTime: time },
    labels: { app: `app-${index % 97}`, tier: index % 2 === 0 ? "front" : "back" },
    spec: {
      ...{ image: "debian:12", cpus: 1 + (index % 8), memoryBytes: 4 * gib, rootSizeBytes: 20 * gib },
      disks: [{ id: "disk1", sizeBytes: 100 * gib }],
      ports: [{ hostPort: 20_000 + (index % 20), guestPort: 443 }],
      checkpointType: "CHECKPOINT_TYPE_PRODUCTION",
    },
    guestAgent: { connected: true, version: "7.2.0" },
    checkpointReadiness: {
      ...{ outcome: "production", consistency: "application", production: true, time },
      findings: [{ code: "writer.found", message: "postgresql is held by its writer" }],
    },
    checkpointStorage: { freeBytes: 900 * gib, growthBytesPerHour: 2 ** 27, hiddenLayers: index % 3, time },
  });
}
