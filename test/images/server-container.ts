import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StartedTestContainer } from "testcontainers";
import type { TestEngine } from "#libs/testing";
import { programImage } from "./build.ts";

/** Which of this machine's servers runs in a container, and how. */
export interface ServerInContainer {
  readonly program: string;
  readonly args: readonly string[];
  /** Where it listens in the container. */
  readonly port: number;
  /** What it prints when it is ready. */
  readonly ready: string;
}

/**
 * Runs a server in a container, by testcontainers, and waits until it is ready at `getHost()` and `getMappedPort(port)`.
 * It is removed when it goes out of scope.
 */
export async function startServerContainer(
  engine: TestEngine,
  { program, args, port, ready }: ServerInContainer,
): Promise<StartedTestContainer> {
  process.env.DOCKER_HOST = `unix://${engine.socketPath}`;
  // The container that would remove the others, should we die, is one to be pulled; the check at the run's end names them.
  process.env.TESTCONTAINERS_RYUK_DISABLED = "true";
  const { GenericContainer, Wait } = await import("testcontainers");
  const image = await programImage(engine, program);
  const container = new GenericContainer(image)
    .withCommand([program, ...args])
    .withExposedPorts(port)
    .withLabels({ "stillpoint.test": tmpdir() });
  try {
    return await container.withWaitStrategy(Wait.forLogMessage(ready)).start();
  } finally {
    await rm(join(tmpdir(), `testcontainers-node-${process.getuid?.()}.lock`), { force: true });
  }
}
