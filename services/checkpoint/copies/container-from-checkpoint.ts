import { type Container, ContainerSpec, CreateContainerRequest } from "#contracts/container/v1/container";
import type { PortForward } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { containerName, parseContainerName, projectName } from "#libs/names";
import type { Json } from "#libs/records";
import type { WantedVm } from "../jobs/made-vm.ts";

interface NewContainer {
  readonly project: string;
  readonly containerId: string;
  readonly ports: readonly PortForward[];
  readonly labels?: Readonly<Record<string, string>>;
}

/**
 * The container that is made from a checkpoint of another one, on the same host. Ports are not taken over, as they
 * would collide. Secrets are named here and filled in by the service that keeps them, in the same project alone.
 */
export function containerLike(source: Container, checkpoint: string, wanted: NewContainer): WantedVm {
  if (source.spec === undefined) throw new StillpointError("INTERNAL", `the record of ${source.name} has no spec`);
  const isAtHome = parseContainerName(source.name).project === wanted.project;
  const secrets = isAtHome ? source.spec.secrets.map(({ name }) => ({ name, value: new Uint8Array() })) : [];
  const here = { image: source.imageDigest, fromCheckpoint: checkpoint, host: source.host, hostSelector: {}, secrets };
  return wantedContainer(wanted, { ...source.spec, ...here });
}

/** A container as a job's input keeps it. Fails with NAME_INVALID. */
export function wantedContainer(
  { project, containerId, ports, labels = {} }: NewContainer,
  spec: ContainerSpec,
): WantedVm {
  const own = ports.map(({ hostPort, guestPort }) => ({ hostPort, containerPort: guestPort, protocol: "tcp" }));
  const request = CreateContainerRequest.fromPartial({
    ...{ parent: projectName(project), containerId, labels },
    spec: ContainerSpec.fromPartial({ ...spec, ports: own }),
  });
  return { name: containerName(project, containerId), request: CreateContainerRequest.toJSON(request) as Json };
}
