import { execFile } from "node:child_process";
import { realpath } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Those that every image has with its C library. */
const ofTheBase = /^(ld-linux|lib(c|dl|m|pthread|resolv|rt)\.so)/;

/**
 * A program of this machine and the libraries that it loads, for an image of the same release.
 * @returns where in the image, and which file of the machine
 */
export async function programFiles(name: string): Promise<[target: string, source: string][]> {
  const { stdout: found } = await run("which", [name], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  const program = await realpath(found.trim());
  const { stdout } = await run("ldd", [program]);
  const libraries = [...stdout.matchAll(/^\s*(\S+) => (\/\S+)/gm)]
    .map(([, library = "", path = ""]) => [library, path] as const)
    .filter(([library]) => !ofTheBase.test(library));
  return [
    [`usr/bin/${name}`, program],
    ...libraries.map(([, path]): [string, string] => [path.replace(/^\/(usr\/)?/, "usr/"), path]),
  ];
}
