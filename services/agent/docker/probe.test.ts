import { createServer } from "node:http";
import { join } from "node:path";
import Dockerode from "dockerode";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { probeDocker } from "./probe.ts";

/** What an engine says of itself, asked over a socket as a real one is. */
async function probed(info: object) {
  await using folder = temporaryFolder();
  const socketPath = join(folder.path, "docker.sock");
  const server = createServer((_request, response) => response.end(JSON.stringify(info)));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  try {
    return await probeDocker(new Dockerode({ socketPath }));
  } finally {
    server.close();
  }
}

const plain = { ServerVersion: "20.10", Architecture: "aarch64", DockerRootDir: "/var/lib/docker" };

test("an engine that maps users says from which on", async () => {
  const SecurityOptions = ["name=seccomp,profile=default", "name=userns"];
  const facts = await probed({ ...plain, SecurityOptions, DockerRootDir: "/var/lib/docker/231072.231073" });
  expect(facts).toMatchObject({ architecture: "arm64", firstUser: { uid: 231_072, gid: 231_073 } });
  expect((await probed({ ...plain, SecurityOptions: ["name=seccomp"] })).firstUser).toBeUndefined();
});

test("an engine without experimental features writes no processes down", async () => {
  expect(await probed({ ...plain, ExperimentalBuild: false })).toMatchObject({
    canCheckpoint: false,
    version: "20.10",
  });
});

test("no engine is ENGINE_UNAVAILABLE", async () => {
  const none = new Dockerode({ socketPath: "/nonexistent/docker.sock" });
  await expect(probeDocker(none)).rejects.toMatchObject({ reason: "ENGINE_UNAVAILABLE" });
});
