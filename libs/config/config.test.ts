import { expect, test } from "vitest";
import { z } from "zod";
import { commonConfig, readConfig } from "#libs/config";

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
        "  NATS_URL is wrong: expected a URL such as nats://127.0.0.1:4222",
        "  METRICS_ADDRESS is wrong: expected host:port, or unix:/path",
        "  DATA_FOLDER is not set: expected an absolute path",
      ].join("\n"),
    ),
  );
});

test.each(["127.0.0.1:7070", "node-1.example:443", "[::1]:7070", "unix:/run/stillpoint/agent.sock"])(
  "%s is an address",
  (address) => {
    expect(readConfig(commonConfig, { STILLPOINT_ADDRESS: address }).STILLPOINT_ADDRESS).toBe(address);
  },
);
