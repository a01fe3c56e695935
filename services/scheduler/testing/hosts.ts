import { Heartbeat } from "#contracts/host/v1/agent";
import { type Host, type HostFacts, hostWith, type Requirements, type Reservation } from "../domain/host.ts";

export const gib = 2 ** 30;

/** A host with 8 cpus, 16 GiB and 100 GiB, and what the test says otherwise. */
export function host(name: string, differs: Partial<HostFacts & Pick<Host, "reservations">> = {}): Host {
  const facts: HostFacts = {
    name: `hosts/${name}`,
    availability: "ready",
    labels: {},
    capabilities: ["qemu"],
    capacity: { cpuMillis: 8_000, memoryBytes: 16 * gib, diskBytes: 100 * gib },
    ...differs,
  };
  return hostWith(facts, differs.reservations ?? []);
}

/** One cpu, 1 GiB, 10 GiB and what the test says otherwise. */
export function requirements(differs: Partial<Requirements> = {}): Requirements {
  return {
    cpuMillis: 1_000,
    memoryBytes: gib,
    diskBytes: 10 * gib,
    hostPorts: [],
    hostSelector: {},
    host: "",
    notHost: "",
    notHosts: [],
    capabilities: ["qemu"],
    ...differs,
  };
}

export function reservation(uid: string, differs: Partial<Requirements> = {}): Reservation {
  return {
    uid,
    workload: `projects/default/vms/${uid}`,
    operation: `operations/${uid}`,
    epoch: 0,
    requirements: requirements(differs),
  };
}

/** What the agent of host `name` says of itself: 4 cpus, 17 GiB, 100 GiB, and what the test says otherwise. */
export function heartbeat(name: string, differs: Partial<Heartbeat> = {}): Heartbeat {
  return Heartbeat.fromPartial({
    host: `hosts/${name}`,
    hostUid: `host-${name}`,
    agentAddress: `unix:/run/${name}.sock`,
    cpus: 4,
    memoryBytes: 17 * gib,
    diskBytes: 100 * gib,
    capabilities: ["qemu"],
    agentVersion: "1",
    ...differs,
  });
}
