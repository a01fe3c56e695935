import type Dockerode from "dockerode";
import { expect, test } from "vitest";
import { dockerEngine, eventually } from "#libs/testing";
import { startTestRegistry } from "../../services/registry/testing/registry-fixture.ts";
import { baseImage, busyboxImage, databaseImage, programImage, pushImage } from "./build.ts";

test("images are built, kept, small and run", async () => {
  await using engine = await dockerEngine();
  const [base, busybox] = [await baseImage(engine), await busyboxImage(engine)];
  expect(await baseImage(engine)).toBe(base);
  expect((await engine.docker.getImage(base).inspect()).Size).toBeLessThan(60e6);
  const redis = await programImage(engine, "redis-server");
  const runs = [
    [base, "sh", "-c", "ps | grep -c sh"],
    [busybox, "sh", "-c", "ps | grep -c sh"],
    [redis, "redis-server", "--version"],
  ];
  for (const [image = "", ...command] of runs) {
    const container = await engine.docker.createContainer({ Image: image, Cmd: command });
    try {
      await container.start();
      expect(await container.wait()).toMatchObject({ StatusCode: 0 });
    } finally {
      await container.remove({ force: true, v: true });
    }
  }
});

test("an image is pushed to our registry and pulled by its digest", async () => {
  await using engine = await dockerEngine();
  await using registry = await startTestRegistry();
  const tag = await busyboxImage(engine);
  const reference = await pushImage(engine, tag, registry.httpAddress, "tests/busybox");
  const pulling = await engine.docker.pull(reference, {});
  await new Promise((resolve) => engine.docker.modem.followProgress(pulling, resolve));
  const pulled = engine.docker.getImage(reference);
  expect((await pulled.inspect()).Id).toBe((await engine.docker.getImage(tag).inspect()).Id);
  await pulled.remove();
});

test("the database answers, and its data outlives its container", { timeout: 120_000 }, async () => {
  await using engine = await dockerEngine();
  const image = await databaseImage(engine);
  const volume = await engine.docker.createVolume();
  const query = async (sql: string) => {
    const options = { Image: image, HostConfig: { Binds: [`${volume.name}:/var/lib/postgresql/data`] } };
    const container = await engine.docker.createContainer(options);
    try {
      await container.start();
      await eventually(() => run(container, ["pg_isready", "-q"]), { deadlineMs: 60_000, everyMs: 100 });
      expect(await run(container, ["psql", "-v", "ON_ERROR_STOP=1", "-c", sql])).toBe(true);
      await container.stop();
    } finally {
      await container.remove({ force: true, v: true });
    }
  };
  try {
    await query("CREATE TABLE kept AS SELECT 1 AS one");
    await query("DROP TABLE kept");
  } finally {
    await volume.remove();
  }
});

async function run(container: Dockerode.Container, command: string[]): Promise<boolean> {
  const exec = await container.exec({ Cmd: command, AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({});
  for await (const _ of stream); // until it ends
  return (await exec.inspect()).ExitCode === 0;
}
