import { Quota } from "#contracts/registry/v1/quotas";
import { type Clock, systemRandom } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { isRepository } from "#libs/oci";
import { createRecordStore, type Log, type RecordStore, RecordView, type StoredRecord } from "#libs/records";

const PREFIX = "registry/quotas/";

/** The limits of projects, as records; what they hold is counted elsewhere. */
export class QuotaStore {
  readonly #records: RecordStore<Quota>;
  readonly #view: RecordView<Quota>;

  private constructor(records: RecordStore<Quota>, view: RecordView<Quota>) {
    this.#records = records;
    this.#view = view;
  }

  static async open({ log, clock, signal }: { log: Log; clock: Clock; signal: AbortSignal }): Promise<QuotaStore> {
    const records = createRecordStore({ log, codec: Quota, clock, random: systemRandom });
    const view = await RecordView.start({ log, filter: "rec.registry.quotas.*", codec: Quota, signal });
    return new QuotaStore(records, view);
  }

  /** In bytes; undefined where there is no limit. */
  limitOf(project: string): number | undefined {
    return this.find(project)?.limitBytes;
  }

  find(project: string): Quota | undefined {
    const stored = this.#view.get(recordName(project));
    return stored && shown(stored);
  }

  list(): Quota[] {
    return this.#view.list(PREFIX).map(shown);
  }

  async set(project: string, limitBytes: number): Promise<void> {
    const name = recordName(project);
    const body = { name: quotaName(project), limitBytes, usedBytes: 0, updateTime: undefined };
    const events = [{ aggregate: "quota", happened: "set", data: { name: body.name, limitBytes } }];
    const modify = () => this.#records.modify(name, () => ({ body, events }));
    const create = async () => {
      try {
        return await this.#records.create(name, { uid: systemRandom.id("quota"), body, events });
      } catch (error) {
        if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
        return await modify();
      }
    };
    await this.#view.waitFor(((await modify()) ?? (await create()))?.version ?? 0);
  }

  /** False when there was none. */
  async remove(project: string): Promise<boolean> {
    const name = recordName(project);
    const stored = await this.#records.get(name);
    if (stored === undefined) return false;
    await this.#records.remove(stored, [
      { aggregate: "quota", happened: "deleted", data: { name: quotaName(project) } },
    ]);
    return true;
  }
}

/** The project of a repository: the first component of its name. */
export function projectOf(repository: string): string {
  return repository.split("/")[0] ?? "";
}

export function quotaName(project: string): string {
  return `${PREFIX}${project}`;
}

/** The project of a quota's name. @throws StillpointError NAME_INVALID */
export function parseQuotaName(name: string): string {
  const project = name.slice(PREFIX.length);
  if (name.startsWith(PREFIX) && !project.includes("/") && isRepository(project)) return project;
  throw new StillpointError("NAME_INVALID", `${name} is not registry/quotas/<project>`);
}

/** Records know no dots, and names of repositories no capitals. */
function recordName(project: string): string {
  return quotaName(project.replaceAll(".", "D"));
}

function shown({ body, time }: StoredRecord<Quota>): Quota {
  return { ...body, updateTime: time };
}
