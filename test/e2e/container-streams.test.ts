import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ContainerHealth } from "#contracts/container/v1/container";
import { ContainerHost } from "../harness/container-host.ts";
import { baseImage, busyboxImage } from "../images/build.ts";

const MIB = 2 ** 20;
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 20_000 });
let host: ContainerHost;
let busybox: string;
let debian: string;

beforeAll(async () => {
  host = await ContainerHost.start();
  busybox = await host.push(await busyboxImage(host.engine), "busybox");
  debian = await host.push(await baseImage(host.engine), "base");
}, 120_000);

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
});

test("commands have input, exit codes, a terminal, and end when the caller hangs up", async () => {
  await using container = await host.create(debian);
  await container.start();
  expect(await container.run("sh", "-c", "echo one; echo two >&2; exit 7")).toMatchObject({ code: 7 });
  await expect(container.run("nosuch")).rejects.toMatchObject({
    reason: "COMMAND_NOT_FOUND",
    message: `running nosuch in ${container.name}: nosuch cannot be run: executable file not found`,
  });

  const answers: string[] = [];
  async function* talk() {
    yield { start: { name: container.uid, command: ["sh"], terminal: true, size: { rows: 30, columns: 100 } } };
    yield { stdin: Buffer.from("stty size; tty\n") };
    await soon(() => expect(answers.join("")).toContain("/dev/pts/"));
    yield { resize: { rows: 40, columns: 120 } };
    yield { stdin: Buffer.from("stty size; exit 3\n") };
  }
  let code: number | undefined;
  for await (const { stdout, exitCode } of host.client.execContainer(talk())) {
    answers.push(Buffer.from(stdout).toString());
    code = exitCode ?? code;
  }
  expect(answers.join("")).toMatch(/30 100.*40 120/s);
  expect(code).toBe(3);

  const leaving = new AbortController();
  const sleeping = async () => (await container.run("sh", "-c", "ps ax | grep -c '[s]leep 777'")).text.trim();
  async function* wait() {
    yield { start: { name: container.uid, command: ["sh", "-c", "sleep 777 | cat"] } };
    await soon(async () => expect(await sleeping()).not.toBe("0"));
    leaving.abort();
  }
  const left = (async () => {
    for await (const _ of host.client.execContainer(wait(), { signal: leaving.signal }));
  })();
  await expect(left).rejects.toThrow();
  await soon(async () => expect(await sleeping()).toBe("0"));
});

test("logs are told from a time or line on, and followed through a restart until the container is deleted", async () => {
  const container = await host.create(busybox, {
    command: ["sh", "-c", "echo started; trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done"],
  });
  await container.start();
  const lines: string[] = [];
  const following = (async () => {
    for await (const { stdout } of host.client.getContainerLogs({ name: container.uid, follow: true })) {
      lines.push(Buffer.from(stdout).toString());
    }
  })();
  await soon(async () => expect(lines.length).toBe(1));
  await container.stop(10);
  await soon(async () => expect(lines.join("")).toBe("started\nbye\n"));
  const between = new Date();
  await container.start();
  await soon(async () => expect(lines.join("")).toBe("started\nbye\nstarted\n"));
  const read = async (options: object) => {
    let all = "";
    for await (const { stdout } of host.client.getContainerLogs({ name: container.uid, ...options }))
      all += Buffer.from(stdout);
    return all;
  };
  expect(await read({ tail: 2 })).toBe("bye\nstarted\n");
  expect(await read({ since: between })).toBe("started\n");
  expect(await read({ tail: 1, timestamps: true })).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z started\n$/);
  await container[Symbol.asyncDispose]();
  await following;
});

test("what it uses is told once a second, and its health when it changes", async () => {
  await using container = await host.create(busybox, {
    command: ["sh", "-c", "touch /tmp/ok; while :; do :; done"],
    limits: { cpuMillis: 300, memoryBytes: 32 * MIB, pids: 0 },
    healthCheck: {
      command: ["test", "-e", "/tmp/ok"],
      interval: { seconds: 0, nanos: 2e8 },
      timeout: { seconds: 5, nanos: 0 },
      startPeriod: undefined,
      retries: 1,
    },
  });
  await container.start();
  await container.becomes({ health: ContainerHealth.HEALTHY });
  const samples = [];
  for await (const sample of host.client.getContainerStats({ name: container.uid, follow: true })) {
    if (samples.push(sample) === 3) break;
  }
  expect(samples[2]).toMatchObject({ memoryLimitBytes: 32 * MIB });
  expect(samples[2]?.pids).toBeGreaterThanOrEqual(1);
  expect(samples[2]?.memoryBytes).toBeGreaterThan(0);
  expect(samples[2]?.cpuMillis).toBeGreaterThan(50);
  expect(samples[2]?.cpuMillis).toBeLessThan(450);
  await container.run("rm", "/tmp/ok");
  await container.becomes({ health: ContainerHealth.UNHEALTHY });
  await container.stop(0);
  const ask = async () => {
    for await (const _ of host.client.getContainerStats({ name: container.uid }));
  };
  await expect(ask()).rejects.toMatchObject({ reason: "CONTAINER_STATE" });
});
