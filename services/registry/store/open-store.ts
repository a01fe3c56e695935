import type { Clock } from "#libs/clock";
import { ContentStore } from "./content-store.ts";
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
}

export interface StoreDeps {
  readonly objects: ObjectStore;
  readonly sessions: UploadSessions;
  readonly maxBlobBytes: number;
  readonly clock: Clock;
}

export function openStore({ objects, ...deps }: StoreDeps): RegistryStore {
  const content = new ContentStore(objects);
  const repositories = new RepositoryStore(objects);
  return { objects, content, repositories, uploads: new Uploads({ objects, content, repositories, ...deps }) };
}
