import type { Container, ContainerSpec } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import { parseCheckpointName, parseWorkloadName } from "#libs/names";
import type { RecordStore } from "#libs/records";
import type { SecretKeys } from "#libs/secrets";
import { openSecrets } from "./sealed-secrets.ts";

export interface InheritDeps {
  readonly records: Pick<RecordStore<Container>, "get">;
  readonly secretKeys: SecretKeys | undefined;
}

/**
 * Gives a clone the values of the secrets that it is named without: those of the container that its checkpoint is of.
 * Values never leave their project, nor this service but for a host.
 */
export async function withInherited(
  { records, secretKeys }: InheritDeps,
  project: string,
  spec: ContainerSpec,
): Promise<ContainerSpec> {
  const isNamedOnly = spec.secrets.some(({ value }) => value.byteLength === 0);
  if (!isNamedOnly || !/^projects\/[^/]+\/containers\/[^/]+\/checkpoints\//.test(spec.fromCheckpoint)) return spec;
  const { workload } = parseCheckpointName(spec.fromCheckpoint);
  if (parseWorkloadName(workload).project !== project) return spec;
  const source = await records.get(workload);
  if (source === undefined) throw new StillpointError("CONTAINER_NOT_FOUND", `there is no container ${workload}`);
  const { secrets = [] } = openSecrets(secretKeys, source.body).spec ?? {};
  const values = new Map(secrets.map(({ name, value }) => [name, value]));
  const filled = spec.secrets.map(({ name, value }) => ({
    name,
    value: value.byteLength === 0 ? (values.get(name) ?? value) : value,
  }));
  return { ...spec, secrets: filled };
}
