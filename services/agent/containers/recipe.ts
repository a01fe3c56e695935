import type { ContainerSpec, HealthCheck } from "#contracts/container/v1/container";
import type { Duration } from "#google/protobuf/duration";
import type { ContainerRecipe, EngineImage, RecipeHealthCheck, RecipeMount } from "../container-engine.ts";
import { capabilityName, type HostMount } from "./isolation.ts";

const MIB = 2 ** 20;
const DEFAULTS = { cpuMillis: 1_000, memoryBytes: 256 * MIB, pids: 1_024 };
const DEFAULT_SIGNAL = "SIGTERM";
const SECONDS = 1_000;

export interface RecipeParts {
  readonly uid: string;
  /** The last part of the container's name. */
  readonly hostname: string;
  /** Allowed by `refuseForbidden`. */
  readonly spec: ContainerSpec;
  /** What the engine calls the image, and what is in it. */
  readonly image: string;
  readonly contents: Pick<EngineImage, "stopSignal" | "volumes">;
  readonly network: string | null;
  readonly hostMounts: ReadonlyMap<string, HostMount>;
  /** The folder on the host with the secrets' files; undefined without secrets. */
  readonly secrets: string | undefined;
}

/** What the engine is told to make. */
export function recipeOf(parts: RecipeParts): ContainerRecipe {
  const { spec, uid, hostname, image, network } = parts;
  return {
    ...{ uid, hostname, image, network },
    stopSignal: parts.contents.stopSignal || DEFAULT_SIGNAL,
    process: spec,
    mounts: [
      ...spec.volumes.map((mount) => mountOf(parts, mount)),
      ...imageVolumes(spec, parts.contents).map(({ id, path }) => ({
        ...{ source: { volume: volumeName(uid, id) }, path, readOnly: false },
      })),
      ...secretsMount(parts),
    ],
    ports: spec.ports.map((port) => ({ ...port, protocol: port.protocol || "tcp" })),
    cpuMillis: spec.limits?.cpuMillis || DEFAULTS.cpuMillis,
    memoryBytes: spec.limits?.memoryBytes || DEFAULTS.memoryBytes,
    pids: spec.limits?.pids || DEFAULTS.pids,
    healthCheck: spec.healthCheck && healthCheck(spec.healthCheck),
    addCapabilities: spec.addCapabilities.map(capabilityName),
    dropCapabilities: spec.dropCapabilities.map(capabilityName),
    readOnlyRoot: spec.readOnlyRoot,
  };
}

/** What the engine calls a container's volume. */
export function volumeName(uid: string, volume: string): string {
  return `stillpoint-${uid}-${volume}`;
}

/** A volume of a container. */
export interface ContainerVolume {
  readonly id: string;
  /** In the container. */
  readonly path: string;
  /** Of no checkpoint, as its spec says. */
  readonly isExcluded: boolean;
}

/** All volumes of a container: those of its spec, and those that its image asks for elsewhere. */
export function volumesOf(spec: ContainerSpec, contents: Pick<EngineImage, "volumes">): ContainerVolume[] {
  const named = spec.volumes.filter(({ volume }) => volume !== "");
  return [
    ...named.map(({ volume, path, excludeFromCheckpoints }) => ({
      ...{ id: volume, path, isExcluded: excludeFromCheckpoints },
    })),
    ...imageVolumes(spec, contents),
  ];
}

/** Given a name, so that they are not the engine's to remove and checkpoints hold them. */
function imageVolumes(spec: ContainerSpec, { volumes }: Pick<EngineImage, "volumes">): ContainerVolume[] {
  const mounted = new Set(spec.volumes.map(({ path }) => path));
  return volumes
    .filter((path) => !mounted.has(path))
    .map((path) => ({ id: `image${path.replace(/[^a-zA-Z0-9.-]/g, "_")}`, path, isExcluded: false }));
}

function mountOf(
  { uid, hostMounts }: RecipeParts,
  { volume, hostPath, path, readOnly }: ContainerSpec["volumes"][number],
): RecipeMount {
  const source =
    volume === "" ? { hostPath: hostMounts.get(hostPath)?.path ?? "" } : { volume: volumeName(uid, volume) };
  return { source, path, readOnly };
}

function secretsMount({ secrets }: RecipeParts): RecipeMount[] {
  return secrets === undefined ? [] : [{ source: { hostPath: secrets }, path: "/run/secrets", readOnly: true }];
}

function healthCheck({ command, interval, timeout, startPeriod, retries }: HealthCheck): RecipeHealthCheck {
  return {
    command,
    intervalMs: inMs(interval, 30 * SECONDS),
    timeoutMs: inMs(timeout, 30 * SECONDS),
    startPeriodMs: inMs(startPeriod, 0),
    retries: retries || 3,
  };
}

function inMs(duration: Duration | undefined, otherwise: number): number {
  return duration === undefined ? otherwise : duration.seconds * SECONDS + duration.nanos / 1e6;
}
