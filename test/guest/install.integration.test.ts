import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { temporaryFolder } from "#libs/testing";
import { runCommand } from "../harness/command.ts";

const tools = join(import.meta.dirname, "../../deploy/guest");
const files = [
  "fsfreeze-hook",
  ...["mysql", "postgresql", "prelude.sh", "redis", "sqlite"].map((name) => `fsfreeze-hook.d/${name}`),
  ...["install.sh", "stillpoint-inventory.service", "writers.conf"],
];

/** User data for cloud-init that holds every file of the guest tools as it is. */
async function cloudInit(): Promise<string> {
  const folder = "/usr/local/lib/stillpoint/guest";
  const lines = [
    "#cloud-config",
    "# Stillpoint's guest tools, whole: made from the files beside it by test/guest. Merge it into your user data.",
  ];
  lines.push("write_files:");
  for (const file of files) {
    const content = (await readFile(join(tools, file), "utf8")).trimEnd().split("\n");
    lines.push(`  - path: ${folder}/${file}`, '    permissions: "0644"', "    content: |");
    lines.push(...content.map((line) => (line === "" ? "" : `      ${line}`)));
  }
  return `${lines.join("\n")}\nruncmd:\n  - [sh, ${folder}/install.sh]\n`;
}

test("the snippet for cloud-init holds the files as they are", async () => {
  const text = await cloudInit();
  await expect(text).toMatchFileSnapshot("../../deploy/guest/cloud-init.yaml");
  const { write_files: written } = parse(text) as { write_files: { path: string; content: string }[] };
  for (const [index, file] of files.entries()) {
    expect(written[index]?.content).toBe(await readFile(join(tools, file), "utf8"));
  }
});

const unit = `[Service]
ExecStart=-/usr/sbin/qemu-ga
`;

/** This machine's root under a layer that forgets all; in it the agent's package as Debian has it, and its own hook. */
const stage = `set -eu
mount -t tmpfs layer "$1" && cd "$1" && mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t tmpfs run root/run
[ -e root/dev/null ] || mount --rbind /dev root/dev
mount --rbind /proc root/proc
mkdir -p root/etc/qemu root/usr/lib/systemd/system root/opt/tools
cp -r "$2/." root/opt/tools
echo distribution >root/etc/qemu/fsfreeze-hook
printf '#!/bin/sh\\n' >root/usr/sbin/qemu-ga && chmod 755 root/usr/sbin/qemu-ga
rm -f root/lib/systemd/system/qemu-guest-agent.service
printf '%s' "$3" >root/usr/lib/systemd/system/qemu-guest-agent.service
cat >root/opt/script
exec chroot root sh -eu /opt/script
`;

/** Runs a script as root in that system. */
async function inDebian(script: string) {
  await using folder = temporaryFolder();
  const unshare = ["--mount", ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"])];
  const whole = stage.replace("cat >root/opt/script\n", `cat >root/opt/script <<'SCRIPT'\n${script}\nSCRIPT\n`);
  return await runCommand("unshare", [...unshare, "sh", "-c", whole, "stage", folder.path, tools, unit]);
}

test("installs, twice the same, keeps settings, and takes all back", { timeout: 60_000 }, async () => {
  const { code, stdout, stderr } = await inDebian(`
install='sh /opt/tools/install.sh'
hook=/etc/qemu/fsfreeze-hook
$install >/dev/null
echo "MYSQL_ARGS='-u me'" >>/etc/stillpoint/writers.conf
find /etc/qemu /etc/systemd /etc/stillpoint -ls | awk '{print $3, $11}' >/first
$install | grep -c '"dispatcher":"1"'
find /etc/qemu /etc/systemd /etc/stillpoint -ls | awk '{print $3, $11}' | cmp /first - && echo same
grep ExecStart= /etc/systemd/system/qemu-guest-agent.service.d/stillpoint.conf
tail -n 1 /etc/stillpoint/writers.conf
cmp /opt/tools/fsfreeze-hook $hook && cat $hook.distrib
test -x $hook.d/postgresql && test ! -x $hook.d/prelude.sh && echo writers
$install --uninstall
cat $hook
ls /etc/qemu /etc/stillpoint
test ! -e /etc/systemd/system/qemu-guest-agent.service.d && test ! -e /etc/systemd/system/stillpoint-inventory.service
$install --uninstall
`);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.trim().split("\n")).toEqual([
    ...["1", "same", "ExecStart=", "ExecStart=-/usr/sbin/qemu-ga -F/etc/qemu/fsfreeze-hook", "MYSQL_ARGS='-u me'"],
    ...["distribution", "writers", "removed; /etc/stillpoint/writers.conf is left", "distribution"],
    ...["/etc/qemu:", "fsfreeze-hook", "", "/etc/stillpoint:", "writers.conf"],
    "removed; /etc/stillpoint/writers.conf is left",
  ]);
});

test("tells how it is used, and refuses what it does not know", async () => {
  const help = await runCommand("sh", [join(tools, "install.sh"), "--help"]);
  expect(help).toMatchObject({ code: 0, stderr: "", stdout: expect.stringContaining("--uninstall") as string });
  const unknown = await runCommand("sh", [join(tools, "install.sh"), "--yes"]);
  expect(unknown).toMatchObject({ code: 2, stdout: "" });
});
