import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type {
  CheckpointManifest,
  CheckpointOutcome,
  HostAgentServiceImplementation,
  HostFacts,
  KeepRecordsRequest,
  WorkloadManifest,
} from "#contracts/host/v1/agent";
import { authorise } from "#libs/auth";
import type { CallScope } from "#libs/rpc";
import { OUTCOME_FILE, storedOutcome } from "../checkpoints/commit-take.ts";
import { storedOutcome as containerOutcome } from "../containers/checkpoints/commit-take.ts";
import { treeOf } from "../containers/checkpoints/tree.ts";
import type { Container } from "../containers/container.ts";
import type { Containers } from "../containers/containers.ts";
import type { StepRunner } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import type { DataFolder } from "../workload-folder.ts";
import type { Workloads } from "../workloads.ts";
import { keepRecords, keptRecords } from "./kept-records.ts";

export interface ManifestsDeps {
  readonly workloads: Workloads;
  readonly containers: Containers | undefined;
  readonly steps: Pick<StepRunner, "epochOf">;
  readonly data: DataFolder;
  readonly hostUid: string;
  /** hosts/<host> */
  readonly host: string;
}

/** What this host knows, for the day when records are lost. */
export function manifestHandlers(
  deps: ManifestsDeps,
): Pick<HostAgentServiceImplementation<CallScope>, "listManifests" | "keepRecords"> {
  const { workloads, containers, host } = deps;
  return {
    async *listManifests(_request, { principal }) {
      authorise(principal, "list", host);
      yield { known: { $case: "facts", value: await factsOf(deps) } };
      for (const workload of workloads.list()) {
        yield { known: { $case: "workload", value: await vmManifest(deps, workload) } };
      }
      for (const container of containers?.list() ?? []) {
        yield { known: { $case: "workload", value: await containerManifest(deps, container) } };
      }
      for (const value of await keptRecords(deps.data.root)) yield { known: { $case: "record", value } };
    },

    async keepRecords(request, { principal }) {
      authorise(principal, "update", host);
      const root = rootOf(deps, request);
      return { kept: root !== undefined && (await keepRecords(root, request.records)) };
    },
  };
}

function rootOf({ workloads, containers, data }: ManifestsDeps, { uid }: KeepRecordsRequest): string | undefined {
  return uid === "" ? data.root : (workloads.find(uid) ?? containers?.find(uid))?.folder.root;
}

async function factsOf({ workloads, containers, steps, data, hostUid }: ManifestsDeps): Promise<HostFacts> {
  const journals = await readdir(data.journals).catch(() => []);
  const uids = journals.filter((file) => file.endsWith(".jsonl")).map((file) => file.slice(0, -".jsonl".length));
  const epochs = await Promise.all(uids.map((uid) => steps.epochOf(uid)));
  const folders = await readdir(data.containers).catch(() => []);
  const unreadable = folders.filter((uid) => containers?.find(uid) === undefined);
  return { hostUid, highestEpoch: Math.max(0, ...epochs), unreadable: [...workloads.unreadable, ...unreadable] };
}

async function vmManifest({ steps }: ManifestsDeps, workload: Workload): Promise<WorkloadManifest> {
  const { manifest, definition, folder } = workload;
  const checkpoints = Object.entries(manifest.checkpoints).map(([uid, { parent, kind }]) =>
    describe({ uid, parent, kind, folder: folder.checkpoint(uid), outcome: () => storedOutcome(workload, uid) }),
  );
  return {
    workload: await workload.describe(await steps.epochOf(workload.uid)),
    definition: { $case: "vm", value: definition },
    imageDigest: definition.image,
    generationId: manifest.generationId,
    checkpoints: await Promise.all(checkpoints),
    records: await keptRecords(folder.root),
  };
}

async function containerManifest({ steps }: ManifestsDeps, container: Container): Promise<WorkloadManifest> {
  const { definition, folder } = container;
  const tree = treeOf(container);
  const checkpoints = Object.entries(tree.checkpoints).map(([uid, { parent, kind }]) => {
    const outcome = () => containerOutcome(container, uid);
    return describe({ uid, parent, kind, folder: join(folder.checkpoints, uid), outcome });
  });
  return {
    workload: container.describe(await steps.epochOf(container.uid)),
    definition: { $case: "container", value: definition },
    imageDigest: definition.spec?.image ?? "",
    generationId: tree.generationId,
    checkpoints: await Promise.all(checkpoints),
    records: await keptRecords(folder.root),
  };
}

interface ToDescribe {
  readonly uid: string;
  readonly parent: string | null;
  readonly kind: string;
  readonly folder: string;
  readonly outcome: () => Promise<CheckpointOutcome | undefined>;
}

async function describe({ uid, parent, kind, folder, outcome }: ToDescribe): Promise<CheckpointManifest> {
  const [told, written] = await Promise.all([
    outcome().catch(() => undefined),
    stat(join(folder, OUTCOME_FILE)).catch(() => undefined),
  ]);
  return { uid, parent: parent ?? "", kind, outcome: told, createTime: written?.mtime };
}
