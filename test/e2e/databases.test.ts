import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#libs/testing";
import { agentReady, importImage, readCheckpoint } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

const names = ["postgresql", "mysql", "redis", "sqlite"] as const;
const hooks = "/etc/qemu/fsfreeze-hook.d";

/** PostgreSQL, MariaDB, Redis and SQLite, each under a load of its own that notes what was acknowledged. */
describe("databases under load", () => {
  let product: Product;
  const exec = (...command: string[]) => guestApplication(product, "db-1").exec(...command);
  const shell = (script: string) => exec("sh", "-c", script);
  const numbers = async (verb: string) => {
    const lines = (await exec("stillpoint-load", verb)).split("\n").map((line) => line.split(" "));
    return new Map(lines.map(([name = "", ...values]) => [name, values.map(Number)]));
  };
  const acknowledged = async () => new Map([...(await numbers("--last"))].map(([name, [last = 0]]) => [name, last]));
  /** Waits until every load has had `more` commits acknowledged since `before`. */
  const goesOn = (before: ReadonlyMap<string, number>, more: number) =>
    eventually(
      async () => {
        const now = await acknowledged();
        return names.every((name) => (now.get(name) ?? 0) >= (before.get(name) ?? 0) + more) && now;
      },
      { deadlineMs: 90_000, everyMs: 500 },
    );
  /** A database that is not up yet answers nothing. */
  const storedInAll = async () => {
    const found = await numbers("--stored").catch(() => undefined);
    return found !== undefined && names.every((name) => (found.get(name)?.[0] ?? 0) > 0) && found;
  };
  const startLoad = () => shell("stillpoint-load >/run/load.out 2>&1 </dev/null &");

  beforeAll(async () => {
    product = await startTestProduct();
    await importImage(product, await buildGuest("databases"), "databases:1");
    await product.json("vm", "create", "db-1", "--image", "databases:1", "--memory", "512MiB", "--start");
    await agentReady(product, "db-1");
    await startLoad();
    await goesOn(new Map(), 20);
  }, 240_000);
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  test("the inventory names all four with their versions", async () => {
    await exec("/etc/qemu/fsfreeze-hook", "inventory");
    const { writers } = JSON.parse(await exec("cat", "/run/stillpoint/inventory.json")) as {
      writers: { name: string; state: string; detail: string }[];
    };
    expect(writers.map(({ name, state }) => [name, state])).toEqual([...names].sort().map((name) => [name, "ready"]));
    expect(writers[0]?.detail).toContain("MariaDB");
  });

  test("a checkpoint brings back every commit of before and none of after", { timeout: 240_000 }, async () => {
    const before = await acknowledged();
    await product.json("checkpoint", "create", "db-1", "--name", "good", "--type", "production-only");
    const { consistency, receipt } = await readCheckpoint(product, "db-1", "good");
    expect(consistency).toBe("CONSISTENCY_APPLICATION");
    expect(receipt.freeze?.writers.map(({ name, state }) => [name, state])).toEqual(
      [...names].sort().map((name) => [name, "thawed"]),
    );
    const reached = await goesOn(await acknowledged(), 10);
    await shell("rm -rf /data/*; sync");
    await product.json("vm", "stop", "db-1", "--force");
    await product.json("checkpoint", "apply", "db-1", "good", "--yes");
    await product.json("vm", "start", "db-1");
    await agentReady(product, "db-1");

    expect(await exec("stat", "-c", "%s", "/data/app.db-wal")).toBe("0");
    const stored = await eventually(storedInAll, { deadlineMs: 90_000 });
    for (const name of names) {
      const [count = -1, highest = -1] = stored.get(name) ?? [];
      expect(count, `${name} has no gap`).toBe(highest);
      expect(highest, `${name} kept what was acknowledged`).toBeGreaterThanOrEqual(before.get(name) ?? 0);
      expect(highest, `${name} has nothing of after`).toBeLessThan(reached.get(name) ?? 0);
    }
    await checkLogs();
    await startLoad();
    await goesOn(new Map(names.map((name) => [name, stored.get(name)?.[1] ?? 0])), 5);
  });

  /** What each writer promises about the start after an apply (deploy/guest/README.md). */
  async function checkLogs() {
    const postgresql = await exec("cat", "/run/postgresql.log");
    expect(postgresql).toContain("database system is ready to accept connections");
    expect(postgresql).not.toMatch(/PANIC|FATAL:.*(corrupt|checkpoint)|invalid page/);
    const [from, to] = ["starts", "done"].map((word) => {
      const [, high = "", low = ""] = new RegExp(`redo ${word} at ([0-9A-F]+)/([0-9A-F]+)`).exec(postgresql) ?? [];
      return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16);
    });
    expect((to ?? 0) - (from ?? 0), "bytes of log replayed").toBeLessThan(1 << 20);
    const mysql = await exec("cat", "/run/mysql.log");
    expect(mysql).not.toMatch(/\[ERROR\]|marked as crashed/);
    expect(await exec("mariadb", "-N", "-B", "-e", "CHECK TABLE app.plain")).toMatch(/status\s+OK$/);
    expect(await shell("mariadb -N -B -e 'SELECT count(*) = max(n) FROM app.plain'")).toBe("1");
    const redis = await exec("cat", "/run/redis.log");
    expect(redis).toContain("DB loaded from");
    expect(redis).not.toMatch(/truncat|Unexpected end|Bad file format/i);
  }

  test("a writer that fails or hangs: no production, the guest goes on", { timeout: 240_000 }, async () => {
    for (const [name, script, told] of [
      ["failing", "[ $1 = thaw ] || exit 1", "ended with 1"],
      ["hanging", "[ $1 = thaw ] || exec sleep 100", "did not end within 1 s"],
    ] as const) {
      const file = `${hooks}/${name}`;
      const limits = "sed -i '/^WRITER_LIMITS/d' /etc/stillpoint/writers.conf";
      await shell(`printf '#!/bin/sh\\n%s\\n' '${script}' >${file}; chmod +x ${file}`);
      await shell(`${limits}; echo "WRITER_LIMITS='hanging=1'" >>/etc/stillpoint/writers.conf`);
      const args = ["checkpoint", "create", "db-1", "--name", `never-${name}`, "--type", "production-only"];
      const { code, stderr } = await product.stillpoint(...args);
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("hook.failed") as string });
      const { writers } = JSON.parse(await exec("cat", "/run/stillpoint/writers.json")) as {
        writers: { name: string; state: string; detail?: string }[];
      };
      expect(writers.find((writer) => writer.name === name)).toMatchObject({ state: "failed", detail: told });
      await goesOn(await acknowledged(), 3);
      await product.json("checkpoint", "create", "db-1", "--name", `instead-${name}`);
      expect(await readCheckpoint(product, "db-1", `instead-${name}`)).toMatchObject({
        kind: "CHECKPOINT_KIND_STANDARD",
        fellBack: true,
        reason: "hook.failed",
      });
      await goesOn(await acknowledged(), 3);
      await exec("rm", file);
    }
  });
});
