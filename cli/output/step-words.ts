/** What each step does, for people; one that is newer than this command is shown by its name. */
const words: Readonly<Record<string, string>> = {
  "create-vm": "making the VM",
  hold: "taking hold of the VM",
  receive: "putting the checkpoint's files in place",
  try: "waiting for the guest and its check",
  remove: "removing what is not needed any more",
  judge: "judging",
  place: "choosing a host",
  make: "making it on its host",
  start: "starting",
  stop: "waiting for it to end",
  kill: "sending the signal",
  update: "telling its host",
  reboot: "rebooting",
  pause: "pausing",
  resume: "resuming",
  destroy: "removing it from its host",
  release: "giving its capacity back",
  prepare: "looking at the VM",
  production: "freezing the guest for a moment",
  offline: "switching disks",
  verify: "verifying what was taken",
  "discard-unproven": "discarding what could not be proven",
  standard: "saving RAM and disks",
  publish: "recording the checkpoint",
  mark: "marking it as being deleted",
  forget: "removing its record",
  apply: "bringing disks and RAM back",
  "move-head": "recording where now is",
  push: "sending it to the registry",
  record: "recording where it is",
  settle: "recording the VM's state",
  select: "looking which VMs it is for",
  take: "taking checkpoints",
  drill: "trying checkpoints",
  plan: "looking which checkpoints to keep",
  delete: "deleting old checkpoints",
};

/** A step of an operation in words; undefined for what is of no interest to people. */
export function showStep(step: string): string | undefined {
  if (step === "" || step === "conclude") return undefined;
  if (step.startsWith("undo ")) return "taking back what was done";
  return Object.hasOwn(words, step) ? words[step] : step;
}
