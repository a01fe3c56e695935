import { join } from "node:path";
import type { RootContents } from "./rootfs.ts";

/** What a disk image of a test guest is made of. */
export interface GuestImage {
  readonly packages: readonly string[];
  readonly root: RootContents;
  readonly diskBytes: number;
  /** What the guest says on its console when its first boot, at the end of the build, has done its work. */
  readonly prepared?: string;
}

const here = import.meta.dirname;
const tools = join(here, "../../deploy/guest");
const mebibyte = 1024 * 1024;

const basePackages = ["busybox-static", "qemu-guest-agent", "redis-server", "redis-tools", "sqlite3", "e2fsprogs"];
const basePrograms = [
  "usr/sbin/qemu-ga",
  "usr/bin/redis-server",
  "usr/bin/redis-cli",
  "usr/bin/sqlite3",
  "usr/sbin/mke2fs",
];
const baseOverlays = [
  [".", join(here, "rootfs")],
  ["etc/qemu/fsfreeze-hook", join(tools, "fsfreeze-hook")],
  ["etc/qemu/fsfreeze-hook.d", join(tools, "fsfreeze-hook.d")],
] as const;

export const images: Record<"default" | "databases", GuestImage> = {
  default: {
    packages: basePackages,
    root: { programs: basePrograms, files: [], overlays: baseOverlays },
    diskBytes: 256 * mebibyte,
  },
  databases: {
    packages: [...basePackages, "postgresql", "mariadb-server-core", "mariadb-client-core", "util-linux"],
    root: {
      programs: [
        ...basePrograms,
        "usr/bin/setpriv",
        "usr/bin/mariadb",
        "usr/sbin/mariadbd",
        "usr/bin/my_print_defaults",
        "usr/bin/resolveip",
        "usr/lib/postgresql/*/bin/{postgres,initdb,psql}",
        "usr/lib/postgresql/*/lib/{dict_snowball,plpgsql}.so",
      ],
      files: ["usr/share/postgresql", "usr/share/mysql", "usr/bin/mariadb-install-db"],
      overlays: [...baseOverlays, [".", join(here, "rootfs-databases")]],
    },
    diskBytes: 768 * mebibyte,
    prepared: "stillpoint: the databases are prepared",
  },
};
