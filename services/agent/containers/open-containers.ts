import { join } from "node:path";
import type { Clock } from "#libs/clock";
import { registryLogin } from "#libs/config";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import type { RegistryClient } from "#libs/oci";
import { readKeyFile, SecretKeys } from "#libs/secrets";
import type { BackgroundWork } from "../checkpoints/background-work.ts";
import type { AgentConfig } from "../config.ts";
import type { DockerEngine } from "../docker/docker-engine.ts";
import type { FencedContainers } from "../lease/fenced-containers.ts";
import type { Starts } from "../lease/host-lease.ts";
import type { DataFolder } from "../workload-folder.ts";
import { adoptContainers } from "./adopt-containers.ts";
import { ContainerStorage } from "./checkpoints/storage.ts";
import type { ContainerDeps } from "./container.ts";
import { ContainerImages } from "./container-images.ts";
import type { ContainerParts } from "./container-parts.ts";
import { Containers } from "./containers.ts";
import { evictImages, isDiskLow } from "./evict-images.ts";
import { capabilityName } from "./isolation.ts";
import { KeptBack } from "./kept-back.ts";
import { lookAtAll } from "./look-again.ts";
import { ProjectNetworks } from "./networks.ts";
import { noteEvent } from "./note-event.ts";
import { PolicyRestarts, type PolicyRestartsDeps } from "./policy-restarts.ts";
import { startByPolicy } from "./power.ts";
import { Programs } from "./program.ts";
import { freeBytesIn } from "./pull-within.ts";
import { PulledImages } from "./pulled-images.ts";
import { SecretFiles } from "./secrets.ts";
import { EngineWatch } from "./watch.ts";

/** A tmpfs on every Linux. */
const MEMORY = "/dev/shm";

export interface ContainerWiring {
  readonly config: AgentConfig;
  readonly lifecycle: Lifecycle;
  readonly data: DataFolder;
  /** The data folder's `host-<uuid>`. */
  readonly hostData: string;
  readonly deps: ContainerDeps;
  readonly registry: RegistryClient;
  readonly background: BackgroundWork;
  readonly guarded: FencedContainers;
  readonly starts: Starts;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface HostContainers {
  readonly parts: ContainerParts;
  /** Meets the engine and adopts what runs; without an engine it goes on trying. */
  start(): Promise<void>;
  /** What the engine can do now, in the words that placement uses; nothing while it does not answer. */
  capabilities(): string[];
}

/** The containers of this host, by their files; undefined when it is not to have any. */
export async function openContainers(wiring: ContainerWiring): Promise<HostContainers | undefined> {
  const { config, lifecycle, data, hostData, deps, clock, logger, registry, background, guarded, starts } = wiring;
  const socketPath = socketOf(config.AGENT_DOCKER_HOST);
  if (socketPath === undefined) return undefined;
  const engine = await openEngine(socketPath, hostData);
  const pulled = await PulledImages.open(join(data.root, "container-images.json"));
  const keys = SecretKeys.parse(config.STILLPOINT_SECRETS_KEY ?? (await readKeyFile(join(data.root, "secrets-key"))));
  const restarts = openRestarts(wiring, (container, signal) => startByPolicy(parts, container, signal));
  const parts: ContainerParts = {
    ...{ engine, clock, logger, registry, background, guarded, starts, restarts },
    ends: lifecycle.add("ends of containers", new KeptBack(clock), (opened) => opened.close()),
    storage: new ContainerStorage({ clock, logger }),
    containers: await Containers.open(data, deps, keys),
    images: new ContainerImages({
      images: engine.images,
      registryUrl: config.REGISTRY_HTTP_URL,
      login: loginOf(config),
      ...{ pulled, clock },
      freeBytes: () => freeBytesIn(watch.known().dataFolder),
    }),
    networks: new ProjectNetworks({ engine, hostData, clock, logger }),
    secrets: new SecretFiles(MEMORY, data.root, keys),
    programs: new Programs(engine),
    policy: {
      hostRoot: config.AGENT_CONTAINER_HOST_ROOT,
      capabilities: new Set(config.AGENT_CONTAINER_CAPABILITIES.split(",").filter(Boolean).map(capabilityName)),
    },
    facts: () => watch.known(),
    requireEngine: () => watch.require(),
  };
  const evicting = {
    ...{ pulled, images: engine.images, known: parts.images, limitBytes: config.AGENT_CONTAINER_IMAGES_BYTES },
    ...{ isDiskLow: () => isDiskLow(watch.known().dataFolder), clock, logger },
  };
  const watch = new EngineWatch({
    ...{ engine, clock, logger },
    onMet: (met) => adoptContainers(parts, met),
    onEvent: (event) => noteEvent(parts, event),
    onLook: async () => {
      await lookAtAll(parts);
      await evictImages(evicting, imagesOf(parts));
    },
    lastEvent: () => lastEventOf(parts),
  });
  lifecycle.add("container networks", parts.networks, (networks) => networks.close());
  lifecycle.add("containers", watch, (opened) => opened.close());
  return { parts, start: () => watch.start(), capabilities: () => capabilitiesOf(watch) };
}

/** Its client costs a tenth of a second to load: hosts without containers do without. */
async function openEngine(socketPath: string, hostData: string): Promise<DockerEngine> {
  const { DockerEngine } = await import("../docker/docker-engine.ts");
  return new DockerEngine({ socketPath, hostData });
}

function openRestarts({ lifecycle, clock, logger }: ContainerWiring, start: PolicyRestartsDeps["start"]) {
  const restarts = new PolicyRestarts({ clock, logger, start });
  return lifecycle.add("restarts of containers", restarts, (opened) => opened.close());
}

/** What keeps an image: a container here, which was made of it or goes on from a checkpoint that stands on it. */
function imagesOf({ containers, images }: ContainerParts): Set<string> {
  const named = containers.list().flatMap(({ manifest, definition: { spec } }) => {
    return spec === undefined || spec.image === "" ? [manifest.image] : [manifest.image, images.nameFor(spec.image)];
  });
  return new Set(named);
}

function capabilitiesOf({ facts }: EngineWatch): string[] {
  if (facts === undefined) return [];
  const { firstUser, canCheckpoint } = facts;
  return [
    "docker",
    ...(firstUser === undefined ? [] : ["docker:userns-remap"]),
    ...(canCheckpoint ? ["docker:checkpoint"] : []),
  ];
}

function lastEventOf({ containers }: ContainerParts): number | undefined {
  const last = Math.max(0, ...containers.list().map(({ eventTime }) => eventTime));
  return last === 0 ? undefined : last;
}

function loginOf(config: AgentConfig) {
  const login = registryLogin(config);
  return login && { username: login.user, password: login.password };
}

/** unix:/path or unix:///path; undefined for "none". */
function socketOf(address: string): string | undefined {
  return address === "none" ? undefined : address.replace(/^unix:(\/\/)?/, "");
}
