import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dockerEngine, eventually, freePort, type TestEngine } from "#libs/testing";
import { type Product, startTestProduct } from "../harness/product.ts";
import { databaseImage, pushImage } from "../images/build.ts";

interface Pushed {
  readonly output: {
    readonly reference: string;
    readonly digest: string;
    readonly bytesSent: number;
    readonly bytesTotal: number;
    readonly chunksSent: number;
    readonly chunksTotal: number;
  };
}

interface ReceiptDisk {
  readonly id: string;
  readonly bytes: number;
  readonly digest: string;
}

const data = "/var/lib/postgresql/data";
const QUIESCE = "psql -U postgres -qc CHECKPOINT && echo ready && cat >/dev/null";

/** Two installations with one registry; each part goes on from the one before. */
describe("checkpoints of containers that travel", () => {
  let engine: TestEngine;
  let here: Product;
  let there: Product;
  beforeAll(async () => {
    engine = await dockerEngine();
    const env = { AGENT_DOCKER_HOST: `unix://${engine.socketPath}` };
    here = await startTestProduct(env);
    there = await startTestProduct({ ...env, REGISTRY_HTTP_URL: here.registryUrl });
    await pushImage(engine, await databaseImage(engine), new URL(here.registryUrl).host, "database");
    const options = ["--quiesce", QUIESCE, "--port", `${await freePort()}:5432`, "--volume", `data:${data}`];
    await here.json("container", "run", "db", "--image", "database", ...options);
    await answers(here, "db");
  }, 240_000);
  afterAll(async () => {
    for (const product of [there, here]) await product?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  const shell = async (product: Product, name: string, script: string) => {
    const { code, stdout, stderr } = await product.stillpoint("container", "exec", name, "--", "sh", "-c", script);
    if (code !== 0) throw new Error(`${script}: ${stdout}${stderr}`);
    return stdout.trim();
  };
  const sql = (product: Product, name: string, query: string) =>
    shell(product, name, `psql -U postgres -Atqc "${query}"`);
  const answers = (product: Product, name: string) =>
    eventually(() => sql(product, name, "select 1"), { deadlineMs: 30_000 });
  const push = async (checkpoint: string, ...more: string[]) =>
    ((await here.json("checkpoint", "push", "container/db", checkpoint, ...more)) as Pushed).output;
  const disksOf = async (product: Product, name: string, checkpoint: string) => {
    const receipt = await product.json("checkpoint", "receipt", `container/${name}`, checkpoint);
    return (receipt as { disks: ReceiptDisk[] }).disks;
  };
  const digestsOf = (product: Product, name: string, checkpoint: string) =>
    eventually(async () => {
      const digests = (await disksOf(product, name, checkpoint)).map(({ id, digest }) => [id, digest] as const);
      return digests.every(([, digest]) => digest.startsWith("sha256:")) && Object.fromEntries(digests);
    });

  test("a database under load is taken and pushed; the same push sends nothing again", async () => {
    await sql(here, "db", "create table t (i int primary key, pad text)");
    await shell(
      here,
      "db",
      `pgbench -U postgres -qi; mkdir ${data}/scratch; head -c 8000000 /dev/urandom >${data}/scratch/big`,
    );
    const one = `psql -U postgres -qc "insert into t values ($i, repeat('x', 500))" && echo $i >>${data}/scratch/acknowledged`;
    const loop = `i=1; while [ ! -e ${data}/scratch/stop ]; do ${one}; i=$((i+1)); done`;
    const load = shell(here, "db", `pgbench -U postgres -c 2 -T 600 -n >/dev/null 2>&1 & ${loop}; kill $!; true`);
    const acknowledged = async () => Number(await shell(here, "db", `tail -n 1 ${data}/scratch/acknowledged`));
    await eventually(async () => (await acknowledged()) > 20, { deadlineMs: 30_000 });
    const before = await acknowledged();
    await here.json("checkpoint", "create", "container/db", "--name", "under load");
    await shell(here, "db", `touch ${data}/scratch/stop`);
    await load.catch(() => undefined);
    await digestsOf(here, "db", "under load"); // they are a part of the receipt
    const first = await push("under load");
    expect(first.reference).toBe("container-checkpoints/db:under-load");
    expect(first.bytesSent).toBeGreaterThan(8_000_000);
    expect(await push("under load")).toMatchObject({ digest: first.digest, bytesSent: 0, chunksSent: 0 });

    await there.json("checkpoint", "pull", first.reference, "--container", "db-2", "--start");
    await answers(there, "db-2");
    const [count = 0, last = 0] = (await sql(there, "db-2", "select count(*), max(i) from t")).split("|").map(Number);
    expect(count).toBeGreaterThanOrEqual(before);
    expect(last).toBe(count);
    // The instant may lie between a commit and its acknowledgement.
    const told = Number(await shell(there, "db-2", `tail -n 1 ${data}/scratch/acknowledged`));
    expect([told, told + 1]).toContain(count);
    await sql(there, "db-2", "insert into t values (0, '')");
    expect(await digestsOf(there, "db-2", "under load")).toEqual(await digestsOf(here, "db", "under load"));
    const { container } = { container: await there.json("container", "get", "db-2") } as {
      container: { spec: { ports: unknown[] }; checkpointStorage: { sizes: unknown[] } };
    };
    expect(container.spec.ports).toBeUndefined();
  }, 240_000);

  test("the next push sends little more than what changed, and any client runs what was pushed", async () => {
    await shell(
      here,
      "db",
      `dd if=/dev/urandom of=${data}/scratch/big bs=1000 count=300 seek=5000 conv=notrunc 2>/dev/null`,
    );
    await sql(here, "db", "update pgbench_accounts set filler = 'x' where aid < 500");
    await shell(here, "db", "echo 2nd >/tmp/word");
    await here.json("checkpoint", "create", "container/db", "--name", "second");
    const { bytesSent, bytesTotal, reference } = await push("second");
    process.stderr.write(`the second push sent ${bytesSent} of ${bytesTotal} bytes\n`);
    expect(bytesSent).toBeLessThan(bytesTotal / 4);
    const image = `${new URL(here.registryUrl).host}/${reference}`;
    expect(await runImage(engine, image)).toContain("2nd");
  }, 180_000);

  test("a clone has its own volumes, and what was damaged is neither applied, cloned nor pushed", async () => {
    await here.json("checkpoint", "clone", "container/db", "second", "copy", "--start");
    await answers(here, "copy");
    await sql(here, "copy", "drop table t");
    expect(await sql(here, "db", "select count(*) > 0 from t")).toBe("t");
    await here.json(
      "checkpoint",
      "pull",
      "container-checkpoints/db:second",
      "--into",
      "container/copy",
      "--name",
      "again",
    );
    await here.json("checkpoint", "apply", "container/copy", "again", "--yes");
    await here.json("container", "start", "copy");
    await answers(here, "copy");
    expect(await sql(here, "copy", "select count(*) > 0 from t")).toBe("t");
    const { uid } = (await here.json("container", "get", "db")) as { uid: string };
    const checkpoints = join(here.folder, "data/host/containers", uid, "checkpoints");
    const { uid: checkpoint } = (await here.json("checkpoint", "get", "container/db", "second")) as { uid: string };
    await digestsOf(here, "db", "second");
    await appendFile(join(checkpoints, checkpoint, "volumes/data/scratch/big"), "x");
    for (const args of [["apply", "--yes"], ["clone", "copy-2"], ["push"]]) {
      const [verb = "", ...rest] = args;
      const { code, stderr } = await here.stillpoint("checkpoint", verb, "container/db", "second", ...rest);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/CHECKPOINT_DAMAGED.*volume data/) as string,
      });
    }
    expect(JSON.stringify(await here.json("container", "list"))).not.toContain("copy-2");
  }, 180_000);
});

/** What a program in an image that is pulled prints, as any client of the engine sees it. */
async function runImage({ docker }: TestEngine, image: string): Promise<string> {
  const pulling = (await docker.pull(image)) as Readable;
  const said = await text(pulling);
  if (said.includes('"error"')) throw new Error(said);
  const container = await docker.createContainer({ Image: image, Cmd: ["cat", "/tmp/word"], Tty: true });
  try {
    await container.start();
    await container.wait();
    return (await container.logs({ stdout: true })).toString();
  } finally {
    await container.remove({ force: true, v: true });
    await docker.getImage(image).remove();
  }
}
