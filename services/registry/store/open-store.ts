import { ContentStore } from "./content-store.ts";
import { DurableFolder } from "./durable-folder.ts";
import { RepositoryStore } from "./repository-store.ts";
import { FileUploadSessions } from "./upload-sessions.ts";
import { Uploads } from "./uploads.ts";

/** All that the registry keeps. */
export interface RegistryStore {
  readonly content: ContentStore;
  readonly repositories: RepositoryStore;
  readonly uploads: Uploads;
}

/** Opens the store in a folder of the file system, which is made when it is missing. */
export async function openStore(root: string, { maxBlobBytes }: { maxBlobBytes: number }): Promise<RegistryStore> {
  const files = await DurableFolder.open(root);
  const content = new ContentStore(files);
  const repositories = new RepositoryStore(files);
  const sessions = new FileUploadSessions(files);
  return { content, repositories, uploads: new Uploads({ files, content, repositories, sessions, maxBlobBytes }) };
}
