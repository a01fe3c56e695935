import { describe, expect, test } from "vitest";
import { eventually } from "#libs/testing";
import type { PurgeableLog } from "./compactor.ts";
import type { FollowedMessage, OrderedLog } from "./log.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

/** What every log must do: run against the memory log in unit tests, against JetStream in integration tests. */
export function logContract(name: string, open: () => Promise<OrderedLog & PurgeableLog>): void {
  describe(name, () => {
    const append = async (
      log: OrderedLog,
      subject: string,
      data: string,
      expectedSequence: number,
      messageId?: string,
    ) =>
      await log.append(subject, bytes(data), { expectedSequence, ...(messageId === undefined ? {} : { messageId }) });

    async function take(
      log: OrderedLog,
      filter: string,
      afterSequence: number,
      count: number,
    ): Promise<FollowedMessage[]> {
      const taken: FollowedMessage[] = [];
      const { signal } = new AbortController();
      for await (const message of log.follow(filter, { afterSequence, signal })) {
        taken.push(message);
        if (taken.length === count) break;
      }
      return taken;
    }

    test("reads what was appended last, per subject", async () => {
      const log = await open();
      expect(await log.read("rec.a")).toBeUndefined();
      const first = await append(log, "rec.a", "one", 0);
      const second = await append(log, "rec.a", "two", first);
      await append(log, "rec.b", "other", 0);
      const newest = await log.read("rec.a");
      expect(newest).toMatchObject({ subject: "rec.a", sequence: second });
      expect(text(newest?.data ?? bytes(""))).toBe("two");
    });

    test("reads the last of all that a filter covers", async () => {
      const log = await open();
      await append(log, "rec.x.a", "one", 0);
      const last = await append(log, "rec.x.b", "two", 0);
      await append(log, "rec.y.c", "three", 0);
      expect((await log.read("rec.x.*"))?.sequence).toBe(last);
      expect(await log.read("rec.z.>")).toBeUndefined();
    });

    test("tells a reader that may lag the newest of each subject in the end, in order", async () => {
      const log = await open();
      const stop = new AbortController();
      const seen: FollowedMessage[] = [];
      const reading = (async () => {
        const options = { afterSequence: 0, signal: stop.signal, lagMs: () => 20 };
        for await (const message of log.follow("rec.>", options)) seen.push(message);
      })();
      const last = new Map<string, number>();
      for (let number = 0; number < 300; number++) {
        const subject = `rec.${number % 50}`;
        last.set(subject, await append(log, subject, `${number}`, last.get(subject) ?? 0));
      }
      await eventually(() => seen.at(-1)?.sequence === Math.max(...last.values()));
      const newest = new Map(seen.map(({ subject, sequence }) => [subject, sequence]));
      expect(newest).toEqual(last);
      const sequences = seen.map(({ sequence }) => sequence);
      expect(sequences).toEqual([...new Set(sequences)].sort((a, b) => a - b));
      stop.abort();
      await reading;
    });

    test("appends only over the sequence that was expected", async () => {
      const log = await open();
      const first = await append(log, "rec.a", "one", 0);
      await expect(append(log, "rec.a", "two", 0)).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
      await expect(append(log, "rec.a", "two", first + 1)).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
      const results = await Promise.allSettled(["x", "y", "z"].map((data) => append(log, "rec.a", data, first)));
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    });

    test("writes a message id once, whoever wrote in between", async () => {
      const log = await open();
      const first = await append(log, "rec.a", "one", 0, "id-1");
      await append(log, "rec.a", "two", first, "id-2");
      expect(await append(log, "rec.a", "one", 0, "id-1")).toBe(first);
      expect(text((await log.read("rec.a"))?.data ?? bytes(""))).toBe("two");
    });

    test("appends next only when nothing came in between", async () => {
      const log = await open();
      const first = await append(log, "rec.a", "one", 0);
      const second = await log.appendNext("rec.b", bytes("two"), { expectedLast: first });
      await expect(log.appendNext("rec.c", bytes("three"), { expectedLast: first })).rejects.toMatchObject({
        reason: "RECORD_CONFLICT",
      });
      expect(await log.lastSequence()).toBe(second);
    });

    test("follows in order, from where it is told, what the filter covers", async () => {
      const log = await open();
      const first = await append(log, "rec.x.a", "1", 0);
      await append(log, "rec.y.a", "2", 0);
      await append(log, "rec.x.b", "3", 0);
      const all = await take(log, "rec.x.>", 0, 2);
      expect(all.map(({ data, pending }) => [text(data), pending])).toEqual([
        ["1", 1],
        ["3", 0],
      ]);
      expect((await take(log, "rec.>", first, 2)).map(({ subject }) => subject)).toEqual(["rec.y.a", "rec.x.b"]);
    });

    test("goes on following what comes later, and ends with its signal", async () => {
      const log = await open();
      const stop = new AbortController();
      const seen: string[] = [];
      const following = (async () => {
        for await (const { data } of log.follow("rec.>", { afterSequence: 0, signal: stop.signal })) {
          seen.push(text(data));
          if (seen.length === 2) stop.abort();
        }
      })();
      await append(log, "rec.a", "one", 0);
      await append(log, "rec.b", "two", 0);
      await following;
      expect(seen).toEqual(["one", "two"]);
    });

    test("lists the newest of each subject, in order of sequence", async () => {
      const log = await open();
      expect(await log.newest("rec.>")).toEqual([]);
      const first = await append(log, "rec.a", "old", 0);
      await append(log, "rec.b", "b", 0);
      await append(log, "rec.a", "new", first);
      await append(log, "obs.c", "c", 0);
      expect((await log.newest("rec.>")).map(({ data }) => text(data))).toEqual(["b", "new"]);
    });

    test("takes away a subject's oldest messages, and nothing else", async () => {
      const log = await open();
      const sequences = [await append(log, "rec.a", "1", 0)];
      await append(log, "rec.b", "other", 0);
      for (const data of ["2", "3", "4"]) sequences.push(await append(log, "rec.a", data, sequences.at(-1) ?? 0));
      expect(await log.crowded("rec.>", 3)).toEqual(["rec.a"]);
      expect(await log.crowded("rec.>", 4)).toEqual([]);
      expect(await log.sequencesOf("rec.a")).toEqual(sequences);
      expect(await log.sequencesOf("rec.none")).toEqual([]);
      await log.purge("rec.a", sequences[2] ?? 0);
      expect((await take(log, "rec.>", 0, 3)).map(({ data }) => text(data))).toEqual(["other", "3", "4"]);
      await append(log, "rec.a", "5", sequences[3] ?? 0);
    });

    test("asks for a new start behind its end", async () => {
      const log = await open();
      const last = await append(log, "rec.a", "one", 0);
      await expect(take(log, "rec.>", last + 5, 1)).rejects.toMatchObject({ reason: "RESYNC" });
    });
  });
}
