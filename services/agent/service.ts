import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { HostAgentDefinition } from "#contracts/host/v1/agent";
import { ContainerAgentDefinition } from "#contracts/host/v1/container_agent";
import { systemClock, systemRandom } from "#libs/clock";
import { registryLogin } from "#libs/config";
import { removeDeadSockets } from "#libs/disk-image";
import type { Lifecycle } from "#libs/lifecycle";
import { createLogger, type Logger } from "#libs/logger";
import { createRegistryClient, type RegistryClient } from "#libs/oci";
import { connectHost } from "#libs/records";
import { RpcServer } from "#libs/rpc";
import type { AgentParts } from "./actions/agent-parts.ts";
import { perform } from "./actions/perform.ts";
import { adoptAll } from "./adopt.ts";
import { capabilityNames, hostUid } from "./capabilities.ts";
import { BackgroundWork } from "./checkpoints/background-work.ts";
import { queueMerges } from "./checkpoints/merge.ts";
import { observeStorage } from "./checkpoints/storage-metrics.ts";
import { StorageWatch } from "./checkpoints/storage-watch.ts";
import type { AgentConfig } from "./config.ts";
import type { ContainerDeps } from "./containers/container.ts";
import { createContainerHandlers } from "./containers/container-handlers.ts";
import type { ContainerParts } from "./containers/container-parts.ts";
import { openContainers } from "./containers/open-containers.ts";
import { createLocalDisks } from "./disks.ts";
import { linesIn } from "./durable-file.ts";
import { GuardClient } from "./guard-client.ts";
import { createHandlers } from "./handlers.ts";
import { openImages } from "./images/open-images.ts";
import { admit } from "./lease/admit.ts";
import { bootClock } from "./lease/boot-clock.ts";
import { Fence } from "./lease/fence.ts";
import { openLease, startsBy } from "./lease/open-lease.ts";
import { startHeartbeat } from "./lease/start-heartbeat.ts";
import { Observations } from "./observations.ts";
import type { DiskStore, ImageStore } from "./ports.ts";
import { QemuHypervisor } from "./qemu/hypervisor.ts";
import { probeQemu, type QemuFacts } from "./qemu/probe.ts";
import { listen, mayCall } from "./reached-by.ts";
import { inspectWorkload } from "./readiness/inspect.ts";
import { ReadinessWatch } from "./readiness/readiness-watch.ts";
import { Reserve } from "./reserve.ts";
import { forgetJournals } from "./steps/forget-journals.ts";
import { journalsIn, StepRunner } from "./steps/step-runner.ts";
import type { Workload } from "./workload.ts";
import { type DataFolder, dataFolder } from "./workload-folder.ts";
import { Workloads } from "./workloads.ts";

export interface AgentOptions {
  /** Instead of the registry's; for tests. */
  readonly images?: ImageStore;
  /** Instead of what the file system says is free; for tests. */
  readonly freeBytes?: () => Promise<number>;
}

/** Starts the agent of this host; it listens when it has adopted what runs. Closing it leaves VMs and containers running. */
export async function startAgent(
  config: AgentConfig,
  lifecycle: Lifecycle,
  options: AgentOptions = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "agent", level: config.LOG_LEVEL });
  const data = dataFolder(config.AGENT_DATA);
  await mkdir(data.root, { recursive: true });
  await mkdir(data.journals, { recursive: true, mode: 0o700 });
  await removeDeadSockets();
  const facts = await probeQemu(data.root, processUid(config));
  const uid = await hostUid(data.root);
  const nats = await connectHost(config, lifecycle, logger);
  const observations = await openObservations(config, lifecycle, { nats, hostUid: uid, logger });
  const reserve = await Reserve.open(join(data.root, "reserve"));
  const workloads = await Workloads.open(data, {
    ...{ logger, reserve },
    observe(workload, happened) {
      observations.add(workload, happened);
      if ("state" in happened || "guestAgent" in happened) readiness.touch(workload.uid);
    },
  });
  const observe: ContainerDeps["observe"] = (container, happened) => observations.add(container, happened);
  const stores = await openStores({ config, lifecycle, logger, data, workloads }, options);
  const background = lifecycle.add("digests", new BackgroundWork({ logger }), (work) => work.close());
  const starts = startsBy(() => lease);
  const fence = await Fence.attach({ data: data.root, clock: bootClock, logger, mayStart: (uid) => starts.may(uid) });
  const containers = await openContainers({
    ...{ config, lifecycle, data, hostData: uid, deps: { logger, reserve, observe }, clock: systemClock, logger },
    ...{ registry: stores.registry, background, guarded: fence.containers, starts },
  });
  const wiring = { config, lifecycle, logger, data, facts, workloads, background, fence, ...stores };
  const parts = await makeParts({ ...wiring, starts, containers: containers?.parts });
  const steps = openSteps(parts, data, (changed) => readiness.touch(changed));
  const readiness = lifecycle.add("readiness", readinessWatch(parts, steps), (watch) => watch.close());
  // Letting go of the machines ends the calls that the closer above waits for.
  lifecycle.add("machines", workloads, (all) => all.release());
  const lease = await openLease(lifecycle, { hostUid: uid, data: data.root, reserve, parts, steps });
  await adoptAll(parts);
  await containers?.start();
  readiness.start();
  watchStorage(parts, lifecycle);
  const address = await serve(parts, { config, lifecycle, steps, readiness, data, hostUid: uid });
  forgetOldJournals(parts, data, steps, lifecycle);
  const capabilities = () => [...capabilityNames(facts), ...(containers?.capabilities() ?? [])];
  const known = { hostUid: uid, address, capabilities, workloads: () => uidsOf(parts) };
  await startHeartbeat(config, lifecycle, { ...known, nats, lease, logger });
  logger.info({ address, facts }, "the agent is ready");
  return { address };
}

function openSteps(parts: AgentParts, { journals }: DataFolder, changed: (uid: string) => void): StepRunner {
  return new StepRunner(
    journalsIn(journals),
    async (context, action) => {
      await admit(parts, context, action);
      return await perform(parts, context, action).finally(() => changed(context.uid));
    },
    (workload) => holdBackground(parts, workload),
  );
}

async function openStores({ config, lifecycle, data, ...known }: BeforeStores, options: AgentOptions) {
  const client = createRegistryClient({ address: config.REGISTRY_HTTP_URL, login: registryLogin(config) });
  const registry = lifecycle.add("registry client", client, (opened) => opened.close());
  const disks = { ...createLocalDisks(data.workloads), ...(options.freeBytes && { freeBytes: options.freeBytes }) };
  const images = options.images ?? (await openImages({ config, lifecycle, data, registry, disks, ...known }));
  return { registry, images, disks };
}

interface Serving {
  readonly config: AgentConfig;
  readonly lifecycle: Lifecycle;
  readonly steps: StepRunner;
  readonly readiness: ReadinessWatch;
  readonly data: DataFolder;
  readonly hostUid: string;
}

async function serve(parts: AgentParts, { config, lifecycle, ...own }: Serving): Promise<string> {
  const { logger, containers } = parts;
  const host = `hosts/${config.AGENT_HOST_NAME}`;
  const server = lifecycle.add("agent API", new RpcServer({ logger, admits: mayCall }), (s) => s.close());
  const deps = { ...parts, ...own, host };
  server.add(HostAgentDefinition, createHandlers(deps));
  if (containers !== undefined) server.add(ContainerAgentDefinition, createContainerHandlers(containers, host));
  return await listen(server, config);
}

function forgetOldJournals(parts: AgentParts, { journals }: DataFolder, steps: StepRunner, lifecycle: Lifecycle): void {
  const exists = (uid: string) => uidsOf(parts).includes(uid);
  const forgetting = forgetJournals({ journals, steps, exists, clock: systemClock }, lifecycle.signal);
  forgetting.catch((error: unknown) => parts.logger.warn({ err: error }, "old journals are kept"));
}

/** Of all that has files here. */
function uidsOf({ workloads, containers }: AgentParts): string[] {
  return [...workloads.list(), ...(containers?.containers.list() ?? [])].map(({ uid }) => uid);
}

interface BeforeStores {
  readonly config: AgentConfig;
  readonly lifecycle: Lifecycle;
  readonly logger: Logger;
  readonly data: DataFolder;
  readonly workloads: Workloads;
}

interface Wiring extends BeforeStores {
  readonly facts: QemuFacts;
  readonly images: ImageStore;
  readonly registry: RegistryClient;
  readonly disks: DiskStore;
  readonly background: BackgroundWork;
  readonly fence: Fence;
  readonly containers: ContainerParts | undefined;
  readonly starts: AgentParts["starts"];
}

async function makeParts({ config, lifecycle, logger, data, facts, ...given }: Wiring) {
  const guard = lifecycle.add("guard", await GuardClient.start(data.root, logger), (g) => g.close());
  const merges = lifecycle.add("merges", new BackgroundWork({ logger }), (work) => work.close());
  const parts: AgentParts = {
    ...{ ...given, guard, merges, logger, clock: systemClock, random: systemRandom },
    hypervisor: new QemuHypervisor(facts, given.fence),
    storage: new StorageWatch({ disks: given.disks, clock: systemClock, logger }),
    mergeBytesPerSecond: config.AGENT_MERGE_BYTES_PER_SECOND,
    firstProcessUid: processUid(config),
  };
  return parts;
}

async function holdBackground({ background, merges }: AgentParts, uid: string): Promise<Disposable> {
  const held = new DisposableStack();
  for (const work of [background, merges]) held.use(await work.hold(uid));
  return held;
}

/** After each look merges that failed, or that waited for space or for a clone, are tried again. */
function watchStorage(parts: AgentParts, lifecycle: Lifecycle): void {
  const retry = (workload: Workload) => queueMerges(parts, workload);
  const watching = parts.storage.watch(() => parts.workloads.list(), retry, lifecycle.signal);
  lifecycle.add("storage watch", { watching }, (watch) => watch.watching);
  lifecycle.add("storage metrics", observeStorage(parts), (forget) => forget());
}

/** A guest is left alone while a step acts on it, and as long as it is or may be frozen. */
function readinessWatch(parts: AgentParts, steps: StepRunner): ReadinessWatch {
  const { workloads, guard, clock, logger } = parts;
  return new ReadinessWatch({
    list: () => workloads.list(),
    find: (uid) => workloads.find(uid),
    isDisturbed: async (workload) =>
      workload.leaseHold !== undefined ||
      workload.owesThaw ||
      guard.isArmed(workload.uid) ||
      (await steps.isBusy(workload.uid)),
    inspect: (workload, options) => inspectWorkload(parts, workload, options),
    clock,
    logger,
  });
}

/** Only root can run a VM as another user. */
function processUid({ AGENT_QEMU_UID }: AgentConfig): number | null {
  return process.getuid?.() === 0 ? AGENT_QEMU_UID : null;
}

interface ObservationsWiring {
  readonly nats: NatsConnection;
  readonly hostUid: string;
  readonly logger: Logger;
}

async function openObservations(
  config: AgentConfig,
  lifecycle: Lifecycle,
  { nats, hostUid, logger }: ObservationsWiring,
) {
  const stream = jetstream(nats);
  const observations = await Observations.open(linesIn(join(config.AGENT_DATA, "observations.jsonl")), {
    host: `hosts/${config.AGENT_HOST_NAME}`,
    hostUid,
    publish: async (subject, json, msgID) => void (await stream.publish(subject, json, { msgID })),
    clock: systemClock,
    logger,
  });
  return lifecycle.add("observations", observations, (o) => o.close());
}
