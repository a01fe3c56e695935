import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { Authority, takeIdentity } from "#libs/tls";
import { fakeCluster, runWith } from "../testing/fake-cluster.ts";

const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

test("an authority and certificates are made once, for their owner alone", async () => {
  await using temporary = temporaryFolder();
  const folder = join(temporary.path, "certificates");
  const cert = (...words: string[]) => runWith({}, ["cert", ...words, "--folder", folder]);
  expect(await cert("service", "vm")).toMatchObject({ code: 1, err: expect.stringContaining("stillpoint cert ca") });
  expect(await cert("ca")).toMatchObject({ code: 0 });
  const made = await cert("service", "vm", "--at", "vm.example", "--at", "10.0.0.7", "--days", "30", "-o", "json");
  expect(JSON.parse(made.out)).toEqual({
    certificates: [expect.objectContaining({ subject: "svc/vm", names: ["vm.example", "10.0.0.7"], daysLeft: 29 })],
  });
  expect(await cert("host", "n1")).toMatchObject({ code: 0 });
  const modes = await Promise.all(
    ["", "ca.key", "svc/vm", "svc/vm/tls.key", "host/n1/tls.key"].map((path) => modeOf(join(folder, path))),
  );
  expect(modes).toEqual(["700", "600", "700", "600", "600"]);

  const again = await cert("host", "n1");
  expect(again).toMatchObject({ code: 1, err: expect.stringMatching(/CERTIFICATE_EXISTS[\s\S]*--force/) });
  expect((await cert("ca")).err).toContain("CERTIFICATE_EXISTS");
  const key = new Authority(folder).filesOf("host/n1").key;
  const before = (await stat(key)).ino;
  expect(await cert("host", "n1", "--force")).toMatchObject({ code: 0 });
  expect((await stat(key)).ino).not.toBe(before);
  const shown = await cert("show");
  expect(shown.out.split("\n").map((line) => line.split(/\s{2,}/)[0])).toEqual([
    "FOR",
    "Stillpoint CA",
    "host/n1",
    "svc/vm",
    "",
  ]);
});

test.each([
  [["service", "Vm"], "NAME_INVALID"],
  [["host", "../n1"], "NAME_INVALID"],
  [["service", "vm", "--at", "a,URI:spiffe://stillpoint/svc/proxy"], "is no DNS name or IP address"],
  [["service", "vm", "--days", "0"], "whole number"],
])("cert %j is refused", async (words, reason) => {
  await using temporary = temporaryFolder();
  await new Authority(temporary.path).create({ days: 2 });
  expect((await runWith({}, ["cert", ...words, "--folder", temporary.path])).err).toContain(reason);
});

test("the command line shows a person's certificate", async () => {
  await using temporary = temporaryFolder();
  const authority = new Authority(temporary.path);
  await authority.create({ days: 2 });
  const [server, ada] = [
    await authority.issue("svc/operation", { days: 2, names: ["127.0.0.1"] }),
    await authority.issue("admin/ada", { days: 2 }),
  ];
  takeIdentity({ TLS_CA: server.ca, TLS_CERT: server.cert, TLS_KEY: server.key });
  const asked: string[] = [];
  await using cluster = await fakeCluster({
    operations: {
      async listOperations(_request, { principal }) {
        asked.push(principal.name);
        return {};
      },
    },
  });
  const list = ["operation", "list"];
  try {
    const files = ["--ca", ada.ca, "--cert", ada.cert, "--key", ada.key];
    expect(await cluster.run([...list, ...files])).toMatchObject({ code: 0 });
    expect(
      await cluster.run(list, {
        env: { STILLPOINT_ADDRESS: cluster.address, TLS_CA: ada.ca, TLS_CERT: ada.cert, TLS_KEY: ada.key },
      }),
    ).toMatchObject({ code: 0 });
    expect(asked).toEqual(["admin/ada", "admin/ada"]);
    expect(await cluster.run([...list, "--ca", ada.ca])).toMatchObject({
      code: 2,
      err: expect.stringContaining("--key"),
    });
    await writeFile(join(temporary.path, "other.key"), "nothing");
    const wrong = await cluster.run([
      ...list,
      "--ca",
      ada.ca,
      "--cert",
      ada.cert,
      "--key",
      join(temporary.path, "other.key"),
    ]);
    expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("do not belong together") });
  } finally {
    takeIdentity({});
  }
});
