import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** mmap and read, by their numbers on Linux. */
const calls = process.arch === "arm64" ? { mmap: 222, read: 63 } : { mmap: 9, read: 0 };

/**
 * A program that maps two files of /data and writes n to the first, then to the second, then n + 1, as fast as it can:
 * through the mapping alone, so that no call to the kernel tells of what was written. Perl has no mmap of its own, so
 * the kernel is asked for it, and to write to the mapped memory what it reads from a pipe.
 */
export const mappedPairWriter = [
  "perl",
  "-e",
  `
  sub mapped {
    open(my $file, "+>", "/data/$_[0]") or die $!;
    truncate($file, 4096) or die $!;
    my $at = syscall(${calls.mmap}, 0, 4096, 3, 1, fileno($file), 0);
    die $! if $at == -1;
    return $at;
  }
  my @at = (mapped("first"), mapped("second"));
  pipe(my $from, my $to) or die $!;
  for (my $n = 1;; $n++) {
    for my $at (@at) {
      syswrite($to, pack("Q<", $n)) == 8 or die $!;
      syscall(${calls.read}, fileno($from), $at, 8) == 8 or die $!;
    }
  }`,
];

/** What both files hold in some folder. */
export async function mappedPairIn(folder: string): Promise<readonly [first: number, second: number]> {
  const read = async (name: string) => Number((await readFile(join(folder, name))).readBigUInt64LE(0));
  return [await read("first"), await read("second")];
}
