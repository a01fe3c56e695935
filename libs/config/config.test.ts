import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { commonConfig, readConfig } from "#libs/config";
import { temporaryFolder } from "#libs/testing";

test("defaults hold for what is unset or empty", () => {
  expect(readConfig(commonConfig, { NATS_URL: "" })).toMatchObject({
    LOG_LEVEL: "info",
    NATS_URL: "nats://127.0.0.1:4222",
    REDIS_URL: "redis://127.0.0.1:6379",
    STILLPOINT_ADDRESS: "127.0.0.1:7070",
  });
});

test("one error names each wrong variable and its form, and quotes no value", () => {
  const shape = { ...commonConfig, DATA_FOLDER: z.string().describe("an absolute path") };
  const env = { LOG_LEVEL: "loud", NATS_URL: "http://user:secret@host", METRICS_ADDRESS: "here" };
  expect(() => readConfig(shape, env)).toThrowError(
    new Error(
      [
        "the configuration is not right",
        "  LOG_LEVEL is wrong: expected debug, info, warn, error or silent",
        "  NATS_URL is wrong: expected a URL such as nats://127.0.0.1:4222, or several with commas between",
        "  METRICS_ADDRESS is wrong: expected host:port, or unix:/path",
        "  DATA_FOLDER is not set: expected an absolute path",
      ].join("\n"),
    ),
  );
});

test("NATS and Redis may be several servers", () => {
  const env = {
    NATS_URL: "tls://vm:secret@n1:4222,tls://n2:4222",
    NATS_MONITOR_URL: "http://n1:8222,http://n2:8222",
    REDIS_URL: "rediss+sentinel://vm:secret@r1:26379,r2:26379/stillpoint",
  };
  expect(readConfig(commonConfig, env)).toMatchObject(env);
  expect(() => readConfig(commonConfig, { ...env, NATS_URL: "tls://n1:4222,n2:4222" })).toThrow("NATS_URL is wrong");
  expect(() => readConfig(commonConfig, { ...env, REDIS_URL: "redis+sentinel://r1,r2" })).toThrow("REDIS_URL is wrong");
});

test("a variable may be given as the file that holds it", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "nats-url");
  writeFileSync(path, "tls://vm:secret@nats:4222\n");
  expect(readConfig(commonConfig, { NATS_URL_FILE: path }).NATS_URL).toBe("tls://vm:secret@nats:4222");
  expect(() => readConfig(commonConfig, { NATS_URL_FILE: `${path}-none` })).toThrow("NATS_URL_FILE cannot be read");
});

test.each(["127.0.0.1:7070", "node-1.example:443", "[::1]:7070", "unix:/run/stillpoint/agent.sock"])(
  "%s is an address",
  (address) => {
    expect(readConfig(commonConfig, { STILLPOINT_ADDRESS: address }).STILLPOINT_ADDRESS).toBe(address);
  },
);
