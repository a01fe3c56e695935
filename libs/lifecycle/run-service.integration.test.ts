import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";

/** A service that prints when it is up and when it closes; `close` is what it does then. */
function startService(close: string, start = "") {
  const script = `
    import { runService } from "#libs/lifecycle";
    await runService(async (lifecycle) => {
      ${start}
      const timer = setInterval(() => undefined, 1000);
      lifecycle.add("timer", timer, async () => { clearInterval(timer); console.log("closing"); ${close} });
      console.log("up");
    }, 500);`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script]);
  const exited = once(child, "exit");
  return {
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    lines: createInterface(child.stdout)[Symbol.asyncIterator](),
    exited: exited.then(([code, signal]) => signal ?? code),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

const line = async (lines: AsyncIterator<string>) => (await lines.next()).value;

test.each(["SIGTERM", "SIGINT"] as const)("%s closes, and the process dies of it", async (signal) => {
  await using service = startService("");
  expect(await line(service.lines)).toBe("up");
  service.kill(signal);
  expect(await line(service.lines)).toBe("closing");
  expect(await service.exited).toBe(signal);
});

test("a second signal ends what does not close", async () => {
  await using service = startService("setInterval(() => undefined, 1000); await new Promise(() => undefined);");
  expect(await line(service.lines)).toBe("up");
  service.kill("SIGTERM");
  expect(await line(service.lines)).toBe("closing");
  service.kill("SIGINT");
  expect(await service.exited).toBe("SIGINT");
});

test("the deadline ends what does not close", async () => {
  await using service = startService("setInterval(() => undefined, 1000); await new Promise(() => undefined);");
  expect(await line(service.lines)).toBe("up");
  service.kill("SIGTERM");
  expect(await service.exited).toBe(1);
});

test("a part that fails to close shows in the exit code", async () => {
  await using service = startService(`throw new Error("stuck");`);
  expect(await line(service.lines)).toBe("up");
  service.kill("SIGTERM");
  expect(await service.exited).toBe(1);
});

test("a start that fails ends with 1", async () => {
  await using service = startService("", `throw new Error("no port");`);
  expect(await service.exited).toBe(1);
});
