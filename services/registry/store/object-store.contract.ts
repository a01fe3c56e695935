import { randomBytes } from "node:crypto";
import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { PiecesSource } from "./byte-source.ts";
import type { ObjectStore, OpenObject } from "./object-store.ts";

const MIB = 2 ** 20;

const source = (bytes: Buffer) => new PiecesSource(inPieces(bytes));

async function* inPieces(bytes: Buffer, size = 65_536): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Everything that comes; `keep` is asked at once. */
async function gather<Item>(items: AsyncIterable<Item>, keep = (item: Item) => item): Promise<Item[]> {
  const gathered: Item[] = [];
  for await (const item of items) gathered.push(keep(item));
  return gathered;
}

async function bytesOf(object: OpenObject, offset = 0, length = object.sizeBytes - offset): Promise<Buffer> {
  const got: Buffer[] = [];
  const to = new Writable({
    write(chunk: Buffer, _encoding, done) {
      // Buffers are used again once they were taken.
      got.push(Buffer.from(chunk));
      done();
    },
  });
  await object.send({ offset, length }, to);
  to.end();
  return Buffer.concat(got);
}

async function contentOf(store: ObjectStore, key: string): Promise<Buffer | undefined> {
  await using object = await store.open(key);
  return object && (await bytesOf(object));
}

/** What every object store must do. `open` gives one, of which other tests may use other keys. */
export function objectStoreContract(name: string, open: () => ObjectStore): void {
  describe(name, () => {
    test("puts, reads and deletes small objects; the last writer wins", async () => {
      const store = open();
      const before = Date.now() - 2_000;
      expect([await store.read("small/a"), await store.head("small/a")]).toEqual([undefined, undefined]);
      await store.put("small/a", "one");
      await store.put("small/a", Buffer.from("three"));
      const read = await store.read("small/a");
      expect([read?.bytes.toString(), read?.sizeBytes]).toEqual(["three", 5]);
      expect(read?.modifiedTime.getTime()).toBeGreaterThan(before);
      expect(await store.head("small/a")).toMatchObject({ sizeBytes: 5 });
      await store.put("small/empty", "");
      expect(await store.head("small/empty")).toMatchObject({ sizeBytes: 0 });
      await store.delete(["small/a", "small/never", "small/empty"]);
      expect([await store.read("small/a"), await store.head("small/empty")]).toEqual([undefined, undefined]);
      await store.put("small/a", "again");
      expect((await store.read("small/a"))?.bytes.toString()).toBe("again");
      expect([await store.head("small"), await store.open("small/none")]).toEqual([undefined, undefined]);
    });

    test("lists by prefix in order of code units, page by page", async () => {
      const store = open();
      const names = ["a-b", "a.b", "a/x", "a/y/z", "a0", "aa", "B", "b/_c", "b_"].map((name) => `list/${name}`);
      await Promise.all([...names, "lisu"].map((key) => store.put(key, key)));
      const sorted = [...names].sort();
      expect(await store.list("list/")).toEqual(sorted);
      expect(await store.list("list/a")).toEqual(sorted.filter((key) => key.startsWith("list/a")));
      expect(await store.list("list/nothing/")).toEqual([]);
      const paged: string[] = [];
      for (let page = await store.list("list/", { limit: 2 }); page.length > 0; ) {
        paged.push(...page);
        page = await store.list("list/", { limit: 2, after: page.at(-1) });
      }
      expect(paged).toEqual(sorted);
      expect(await store.list("list/", { after: "list/a/w", limit: 3 })).toEqual(["list/a/x", "list/a/y/z", "list/a0"]);
      expect(await store.list("list/", { limit: 0 })).toEqual([]);
      const old = async (before: Date) => (await gather(store.listBefore("list/", before))).sort();
      expect(await old(new Date(Date.now() + 5_000))).toEqual(sorted);
      expect(await old(new Date(Date.now() - 60_000))).toEqual([]);
    });

    test("takes many writes at once, and lists and deletes more than a page of S3", async () => {
      const store = open();
      const names = Array.from({ length: 1_010 }, (_, number) => `many/${String(number).padStart(4, "0")}`);
      await Promise.all(names.map((key) => store.put(key, "")));
      expect(await store.list("many/")).toEqual(names);
      expect(await store.list("many/", { after: names[4], limit: 1_002 })).toEqual(names.slice(5, 1_007));
      await store.delete(names);
      expect(await store.list("many/")).toEqual([]);
    });

    test("takes large content in and gives parts of it", async () => {
      const store = open();
      const blob = randomBytes(21 * MIB + 17);
      let accepted = 0;
      const accept = () => {
        accepted += 1;
      };
      expect(await store.receive("large/a", source(blob), accept)).toBe(blob.length);
      expect(accepted).toBe(1);
      await using object = await store.open("large/a");
      if (object === undefined) throw new Error("not stored");
      expect(object.sizeBytes).toBe(blob.length);
      expect((await bytesOf(object)).equals(blob)).toBe(true);
      for (const [offset, length] of [
        [0, 10],
        [5 * MIB - 3, 7],
        [100, 3 * MIB],
        [blob.length - 1, 1],
      ] as const) {
        expect((await bytesOf(object, offset, length)).equals(blob.subarray(offset, offset + length))).toBe(true);
      }
      expect(Buffer.concat(await gather(object.pieces(), (piece) => Buffer.from(piece))).equals(blob)).toBe(true);
    });

    test.each([0, 100, 9 * MIB])(
      "shows nothing of %i bytes that fail or are refused, and keeps what was there",
      async (size) => {
        const store = open();
        const key = `refused/${size}`;
        await store.put(key, "before");
        const refuse = () => {
          throw new Error("no");
        };
        await expect(store.receive(key, source(randomBytes(size)), refuse)).rejects.toThrow("no");
        const cut = async function* () {
          yield* inPieces(randomBytes(size));
          throw new Error("the client went away");
        };
        await expect(store.receive(key, new PiecesSource(cut()))).rejects.toThrow("went away");
        expect((await store.read(key))?.bytes.toString()).toBe("before");
        await store.receive(key, source(Buffer.alloc(0)), () => {});
        expect(await store.head(key)).toMatchObject({ sizeBytes: 0 });
      },
    );

    test("assembles pieces of any size, in order", async () => {
      const store = open();
      for (const [name, sizes] of [
        ["none", []],
        ["one", [300]],
        ["small", [1, 200, 3_000]],
        ["mixed", [6 * MIB, 10, 7 * MIB, 20, 30]],
        ["large", [6 * MIB, 5 * MIB]],
      ] as const) {
        const parts = sizes.map((size) => randomBytes(size));
        const keys = parts.map((_part, place) => `pieces/${name}.${place}`);
        for (const [place, part] of parts.entries()) await store.receive(keys[place] ?? "", source(part));
        await store.assemble(keys, `assembled/${name}`);
        expect((await contentOf(store, `assembled/${name}`))?.equals(Buffer.concat(parts))).toBe(true);
        expect(await store.list(`pieces/${name}.`)).toEqual([]);
      }
    });

    test("many writers of one key leave one of their objects whole", async () => {
      const store = open();
      const contents = Array.from({ length: 12 }, (_, place) => Buffer.alloc(50_000, place));
      await Promise.all(contents.map((content) => store.put("raced", content)));
      const { bytes } = (await store.read("raced")) ?? { bytes: Buffer.alloc(0) };
      expect(contents.some((content) => content.equals(bytes))).toBe(true);
    });
  });
}
