import { randomUUID } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { absentAsUndefined, type DurableFolder, namesIn, statIfPresent } from "./durable-folder.ts";

export interface UploadSession {
  readonly id: string;
  readonly repository: string;
  /** Bytes that are committed; those beyond it in the file belong to a chunk that was cut off. */
  readonly offset: number;
}

/** The state of uploads that are under way. */
export interface UploadSessions {
  start(repository: string): Promise<UploadSession>;
  find(repository: string, id: string): Promise<UploadSession | undefined>;
  /** Commits bytes, if the session still stands where `from` says. */
  advance(session: UploadSession, from: number, to: number): Promise<UploadSession | undefined>;
  remove(id: string): Promise<void>;
  /** Ids of the sessions that nothing has happened to since. */
  idleSince(before: Date): Promise<string[]>;
}

/** Keeps sessions as files `uploads/<id>/session.json`, for a registry of one process. */
export class FileUploadSessions implements UploadSessions {
  readonly #files: DurableFolder;

  constructor(files: DurableFolder) {
    this.#files = files;
  }

  async start(repository: string): Promise<UploadSession> {
    const session = { id: randomUUID(), repository, offset: 0 };
    await this.#write(session);
    return session;
  }

  async find(repository: string, id: string): Promise<UploadSession | undefined> {
    if (!/^[0-9a-f-]{36}$/.test(id)) return undefined;
    const text = await readFile(this.#path(id), "utf8").catch(absentAsUndefined);
    const session: UploadSession | undefined = text === undefined ? undefined : JSON.parse(text);
    return session?.repository === repository ? session : undefined;
  }

  async advance(session: UploadSession, from: number, to: number): Promise<UploadSession | undefined> {
    const current = await this.find(session.repository, session.id);
    if (current === undefined || current.offset !== from) return undefined;
    const next = { ...current, offset: to };
    await this.#write(next);
    return next;
  }

  async remove(id: string): Promise<void> {
    await rm(this.#files.path("uploads", id), { recursive: true, force: true });
  }

  async idleSince(before: Date): Promise<string[]> {
    const ids = await namesIn(this.#files.path("uploads"));
    const found = await Promise.all(ids.map(async (id) => ({ id, status: await statIfPresent(this.#path(id)) })));
    return found.filter(({ status }) => status === undefined || status.mtime < before).map(({ id }) => id);
  }

  async #write(session: UploadSession): Promise<void> {
    await this.#files.write(this.#path(session.id), JSON.stringify(session));
  }

  #path(id: string): string {
    return this.#files.path("uploads", id, "session.json");
  }
}
