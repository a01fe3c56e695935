import { expect, test } from "vitest";
import { isStillpointError } from "#libs/errors";
import type { ContainerRecipe } from "../container-engine.ts";
import { createOptions } from "./create-options.ts";
import { statsOf } from "./docker-stats.ts";
import { engineError } from "./engine-error.ts";
import { readFrames, readJsonLines } from "./frames.ts";

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function frame(stream: 1 | 2, text: string): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

test.each([1, 3, 8, 1_000])("outputs are told apart however they are cut: %d bytes at a time", async (size) => {
  const all: string[] = [];
  const bytes = Buffer.concat([frame(1, "out"), frame(2, "err ä"), frame(1, ""), frame(1, "x".repeat(40))]);
  for await (const { stream, bytes: part } of readFrames(pieces(bytes, size))) all.push(`${stream}:${part.toString()}`);
  expect(all).toEqual(["stdout:out", "stderr:err ä", "stdout:", `stdout:${"x".repeat(40)}`]);
  const documents: unknown[] = [];
  for await (const document of readJsonLines(pieces(Buffer.from('{"a":"ä"}\r\n{"b":2}'), size)))
    documents.push(document);
  expect(documents).toEqual([{ a: "ä" }, { b: 2 }]);
});

test.each([
  ["driver failed: Bind for 127.0.0.1:80 failed: port is already allocated", 500, "PORT_TAKEN"],
  ['OCI runtime create failed: exec: "nosuch": executable file not found in $PATH: unknown', 400, "COMMAND_NOT_FOUND"],
  ["exec /bin/x: exec format error", 500, "IMAGE_ARCHITECTURE"],
  ["manifest for 127.0.0.1:5000/a@sha256:1 not found: manifest unknown", 404, "IMAGE_NOT_FOUND"],
  ["unauthorized: authentication required", 500, "REGISTRY_LOGIN"],
  ["write /var/lib/docker/x: no space left on device", 500, "SPACE_INSUFFICIENT"],
  ["dial tcp 127.0.0.1:5000: connect: connection refused", 500, "REGISTRY_UNREACHABLE"],
  ["Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", 400, "ARGUMENT_INVALID"],
  ["filesystem layer verification failed for digest sha256:1", 500, "IMAGE_CORRUPT"],
  ['OCI runtime exec failed: exec failed: exec: "/etc": permission denied: unknown', 0, "COMMAND_NOT_FOUND"],
  ["something else", 500, "ENGINE_FAILED"],
])("what the engine says is told in our words: %s", (message, statusCode, reason) => {
  const error = engineError("doing it", Object.assign(new Error(message), { statusCode }));
  expect(isStillpointError(error) && error.reason).toBe(reason);
  expect((error as Error).message).not.toMatch(/OCI runtime|: unknown$/);
});

test.each([
  [
    "driver failed on endpoint ctr-1 (a1): Error starting userland proxy: listen tcp4 127.0.0.1:80: bind: address already in use",
    "127.0.0.1:80 of the host is in use already",
  ],
  ["unable to find user who: no matching entries in passwd file", "its image has no user who"],
  ["Cannot mkdir: /bin/ls is not a directory", "/bin/ls is a file in its image"],
  [
    'exec failed: exec: "nosuch": executable file not found in $PATH',
    "nosuch cannot be run: executable file not found",
  ],
  ['chdir to cwd ("/none") set in config.json failed: no such file', "its working directory /none: no such file"],
  [
    "source /var/lib/docker/overlay2/0af/merged/usr/bin/env is not directory",
    "/usr/bin/env is a file in its image, and a volume is a folder",
  ],
])("what the engine says of its own insides is left out: %s", (message, words) => {
  expect((engineError("starting c", new Error(message)) as Error).message).toBe(`starting c: ${words}`);
});

test("a lost connection is the engine's absence", () => {
  const error = engineError("doing it", Object.assign(new Error("connect"), { code: "ECONNREFUSED" }));
  expect(error).toMatchObject({ reason: "ENGINE_UNAVAILABLE" });
});

test("the options that the engine is given are these and no others", () => {
  const recipe: ContainerRecipe = {
    ...{ uid: "ctr-1", hostname: "web", image: "r/web@sha256:1", stopSignal: "SIGTERM", network: "net" },
    process: { entrypoint: [], command: ["run"], env: { A: "1" }, workingDir: "", user: "" },
    mounts: [{ source: { volume: "v" }, path: "/data", readOnly: false }],
    ports: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
    ...{ cpuMillis: 500, memoryBytes: 2 ** 26, pids: 10, healthCheck: undefined },
    ...{ addCapabilities: ["NET_ADMIN"], dropCapabilities: [], readOnlyRoot: true },
  };
  expect(createOptions(recipe, "host-1")).toMatchInlineSnapshot(`
    {
      "Cmd": [
        "run",
      ],
      "Env": [
        "A=1",
      ],
      "ExposedPorts": {
        "80/tcp": {},
      },
      "HostConfig": {
        "CapAdd": [
          "NET_ADMIN",
        ],
        "CapDrop": [],
        "CgroupnsMode": "private",
        "Init": true,
        "IpcMode": "private",
        "LogConfig": {
          "Config": {
            "max-file": "3",
            "max-size": "16m",
          },
          "Type": "json-file",
        },
        "Memory": 67108864,
        "MemorySwap": 67108864,
        "Mounts": [
          {
            "ReadOnly": false,
            "Source": "v",
            "Target": "/data",
            "Type": "volume",
            "VolumeOptions": {
              "DriverConfig": {
                "Name": "local",
                "Options": {},
              },
              "Labels": {
                "io.stillpoint.host-data": "host-1",
                "io.stillpoint.uid": "ctr-1",
              },
              "NoCopy": false,
            },
          },
        ],
        "NanoCpus": 500000000,
        "NetworkMode": "net",
        "PidsLimit": 10,
        "PortBindings": {
          "80/tcp": [
            {
              "HostIp": "127.0.0.1",
              "HostPort": "8080",
            },
          ],
        },
        "ReadonlyRootfs": true,
        "RestartPolicy": {
          "Name": "no",
        },
        "SecurityOpt": [
          "no-new-privileges",
        ],
      },
      "Hostname": "web",
      "Image": "r/web@sha256:1",
      "Labels": {
        "io.stillpoint.host-data": "host-1",
        "io.stillpoint.uid": "ctr-1",
      },
      "NetworkingConfig": {
        "EndpointsConfig": {
          "net": {
            "Aliases": [
              "web",
            ],
          },
        },
      },
      "StopSignal": "SIGTERM",
      "User": "",
      "WorkingDir": "",
      "name": "ctr-1",
    }
  `);
});

test("use is told without the page cache that can be dropped, and the CPU over the time between samples", () => {
  const stats = statsOf({
    ...{ read: "2026-01-01T00:00:01Z", preread: "2026-01-01T00:00:00Z" },
    cpu_stats: { cpu_usage: { total_usage: 1.5e9 } },
    precpu_stats: { cpu_usage: { total_usage: 1e9 }, system_cpu_usage: 1 },
    memory_stats: { usage: 300, limit: 1_000, stats: { inactive_file: 100 } },
    networks: { a: { rx_bytes: 1, tx_bytes: 2 }, b: { rx_bytes: 3, tx_bytes: 4 } },
    blkio_stats: {
      io_service_bytes_recursive: [
        { op: "Read", value: 7 },
        { op: "write", value: 8 },
      ],
    },
  });
  expect(stats).toMatchObject({ cpuMillis: 500, memoryBytes: 200, networkReceivedBytes: 4, networkSentBytes: 6 });
  expect(stats).toMatchObject({ blockReadBytes: 7, blockWrittenBytes: 8 });
});
