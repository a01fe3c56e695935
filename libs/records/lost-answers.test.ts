import { describe, expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { AppendOptions } from "./log.ts";
import { MemoryLog } from "./memory-log.ts";
import { createRecordStore, rawCodec } from "./record-store.ts";

const name = "projects/default/vms/web";

/** Loses the answer to one append, and no longer knows its message id when that is tried again. */
class ForgetfulLog extends MemoryLog {
  /** Does or leaves the write; runs once, instead of the next append. */
  lose: ((write: () => Promise<number>) => Promise<unknown>) | undefined;

  override async append(subject: string, data: Uint8Array, options: AppendOptions): Promise<number> {
    const { lose } = this;
    if (lose === undefined) return await super.append(subject, data, options);
    this.lose = undefined;
    await lose(() => super.append(subject, data, { expectedSequence: options.expectedSequence }));
    throw new StillpointError("OUTCOME_UNKNOWN", "the answer got lost");
  }
}

function world() {
  const log = new ForgetfulLog(clock, {});
  const store = createRecordStore({ log, codec: rawCodec, clock, random });
  const made = (uid: string) => store.create(name, { uid, body: { n: 1 } });
  return { log, store, made };
}

describe("a write whose answer got lost", () => {
  test("makes a record once", async () => {
    const { log, store, made } = world();
    log.lose = (write) => write();
    const record = await made("vm-1");
    expect(await store.get(name)).toMatchObject({ uid: "vm-1", version: record.version });
    expect(await log.lastSequence()).toBe(record.version);
  });

  test("makes a record no second time that was removed meanwhile", async () => {
    const { log, store, made } = world();
    log.lose = async (write) => {
      await write();
      const stored = await store.get(name);
      if (stored !== undefined) await store.remove(stored);
    };
    await expect(made("vm-1")).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
    expect(await store.get(name)).toBeUndefined();
    expect(await made("vm-2")).toMatchObject({ uid: "vm-2" });
  });

  test("removes a record once, and not the one that came after it", async () => {
    const { log, store, made } = world();
    const first = await made("vm-1");
    log.lose = (write) => write();
    await store.remove(first);
    expect(await log.lastSequence()).toBe(first.version + 1);

    const second = await made("vm-2");
    log.lose = async (write) => {
      await write();
      await made("vm-3");
    };
    await expect(store.remove(second)).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
    expect(await store.get(name)).toMatchObject({ uid: "vm-3" });
  });

  const addOne = (store: ReturnType<typeof world>["store"]) =>
    store.modify(name, ({ body }) => ({ body: { n: Number(body.n) + 1 } }));

  test("changes a record once", async () => {
    const { log, store, made } = world();
    await made("vm-1");
    log.lose = (write) => write();
    await addOne(store);
    expect((await store.get(name))?.body).toEqual({ n: 2 });
  });

  test("is not taken for done when another has written just the same", async () => {
    const { log, store, made } = world();
    await made("vm-1");
    log.lose = () => addOne(store);
    await addOne(store);
    expect((await store.get(name))?.body).toEqual({ n: 3 });
  });
});
