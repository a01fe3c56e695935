import type { Clock, Random } from "#libs/clock";
import { BlobLinks } from "../collect/blob-links.ts";
import { Candidates } from "../collect/candidates.ts";
import { Guard } from "../collect/guard.ts";
import { Intents, type Obituary, SilenceObituary } from "../collect/intents.ts";
import { ManifestPushes } from "../collect/manifest-pushes.ts";
import { CollectionQueue } from "../collect/queue.ts";
import { Removals } from "../collect/removals.ts";
import { RepositoryReader } from "../collect/repository-reader.ts";
import { ContentStore } from "./content-store.ts";
import type { LinkMeter } from "./link-meter.ts";
import type { ObjectStore } from "./object-store.ts";
import { RepositoryStore } from "./repository-store.ts";
import type { UploadSessions } from "./upload-sessions.ts";
import { Uploads } from "./uploads.ts";

/** All that the registry keeps. The objects are the truth; everything else can be made from them again. */
export interface RegistryStore {
  readonly objects: ObjectStore;
  readonly content: ContentStore;
  readonly repositories: RepositoryStore;
  readonly uploads: Uploads;
  readonly blobLinks: BlobLinks;
  readonly manifestPushes: ManifestPushes;
  readonly candidates: Candidates;
  readonly intents: Intents;
  readonly reader: RepositoryReader;
  readonly queue: CollectionQueue;
  readonly removals: Removals;
}

export interface StoreDeps {
  readonly objects: ObjectStore;
  readonly sessions: UploadSessions;
  readonly maxBlobBytes: number;
  readonly clock: Clock;
  readonly random: Random;
  /** How long nothing may have referred to a blob before it is deleted. */
  readonly graceMs: number;
  readonly obituary?: Obituary;
  /** Counts what projects hold; nobody does if unsaid. */
  readonly meter?: LinkMeter | undefined;
}

export function openStore(deps: StoreDeps): RegistryStore {
  const { objects, clock, random, graceMs, obituary = new SilenceObituary(clock) } = deps;
  const content = new ContentStore(objects);
  const intents = new Intents({ objects, clock, random, obituary });
  const candidates = new Candidates(objects, clock);
  const queue = new CollectionQueue({ objects, clock, random });
  const guard = new Guard({ intents, candidates, clock, graceMs });
  const repositories = new RepositoryStore(objects, guard, deps.meter);
  const reader = new RepositoryReader({ repositories, content, intents });
  const parts = { objects, content, repositories, guard, intents, candidates, queue, reader };
  const blobLinks = new BlobLinks({ ...parts, clock, graceMs });
  const manifestPushes = new ManifestPushes(parts);
  const uploads = new Uploads({ ...deps, ...parts, blobLinks });
  return { ...parts, uploads, blobLinks, manifestPushes, removals: new Removals(parts) };
}
