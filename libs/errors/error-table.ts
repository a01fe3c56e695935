import { Code } from "./code.ts";

/** How one reason is told: its gRPC code, and the advice that fits in general. */
export interface ErrorRow {
  readonly code: Code;
  readonly help: string;
}

/** Every reason code there is; the only place where a reason becomes a gRPC status. */
export const errorTable = {
  INTERNAL: { code: Code.INTERNAL, help: "This is a bug: look in the service's log for the request id." },
  CANCELLED: { code: Code.CANCELLED, help: "Ask again if it is still wanted." },
  UNAVAILABLE: { code: Code.UNAVAILABLE, help: "Try again; check that the service and its servers run." },
  DEADLINE_EXCEEDED: { code: Code.DEADLINE_EXCEEDED, help: "Look at the operation before trying again." },
  PERMISSION_DENIED: { code: Code.NOT_FOUND, help: "Check the name and your rights." },

  NAME_INVALID: {
    code: Code.INVALID_ARGUMENT,
    help: "Use lower-case letters, digits and dashes; begin with a letter; at most 63.",
  },
  ARGUMENT_INVALID: { code: Code.INVALID_ARGUMENT, help: "Correct the argument." },
  REQUEST_ID_REUSED: { code: Code.ALREADY_EXISTS, help: "Use a new request id for a different request." },
  RESYNC: { code: Code.OUT_OF_RANGE, help: "The token is too old: list again and watch from there." },

  RECORD_CONFLICT: { code: Code.ABORTED, help: "Someone else changed it: read it again and retry." },
  OUTCOME_UNKNOWN: { code: Code.UNAVAILABLE, help: "The write may have happened: read it again before retrying." },
  TARGET_BUSY: {
    code: Code.FAILED_PRECONDITION,
    help: "Wait for the other operation with: stillpoint operation wait ID; or cancel it: stillpoint operation cancel ID",
  },
  OPERATION_NOT_FOUND: { code: Code.NOT_FOUND, help: "List operations with: stillpoint operation list" },
  OPERATION_ABANDONED: { code: Code.ABORTED, help: "Ask again, with a new request id." },
  OPERATION_CANCELLED: { code: Code.CANCELLED, help: "Ask again if it is still wanted." },
  EPOCH_STALE: { code: Code.ABORTED, help: "A newer worker has taken over; nothing to do." },
  OPERATION_RESTORED: {
    code: Code.ABORTED,
    help: "It was not finished when the backup was made: look at what it was about before you ask again.",
  },
  QUARANTINE_NOT_FOUND: { code: Code.NOT_FOUND, help: "List what is in quarantine with: stillpoint admin quarantine" },
  QUARANTINE_OVER: {
    code: Code.FAILED_PRECONDITION,
    help: "Delete the workload itself; stillpoint admin rebuild takes it off the list.",
  },
  EPOCHS_BEHIND: {
    code: Code.FAILED_PRECONDITION,
    help: "Use nats-server 2.10 or later, remove the empty streams REC, OPS and EVT, and start the services again.",
  },
  UNDO_FAILED: { code: Code.INTERNAL, help: "Something was left half-made: look at the operation and its host." },

  BACKUP_EXISTS: { code: Code.ALREADY_EXISTS, help: "Choose another name: a backup is never written over." },
  BACKUP_DAMAGED: {
    code: Code.INVALID_ARGUMENT,
    help: "Use another backup, or rebuild from the hosts: stillpoint admin rebuild",
  },
  INSTALLATION_LIVE: {
    code: Code.FAILED_PRECONDITION,
    help: "Restore into an empty installation; --replace makes its records give way; rebuild adds to what is there.",
  },

  CERTIFICATE_EXISTS: { code: Code.ALREADY_EXISTS, help: "Pass --force to make a new one in its place." },
  CERTIFICATE_AUTHORITY_MISSING: { code: Code.FAILED_PRECONDITION, help: "Make one with: stillpoint cert ca" },
  CERTIFICATE_FAILED: { code: Code.INTERNAL, help: "Is openssl 3 installed, and may the folder be written?" },

  CERTIFICATE_REQUEST_INVALID: {
    code: Code.INVALID_ARGUMENT,
    help: "Make the request with openssl 3: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256",
  },

  VM_NOT_FOUND: { code: Code.NOT_FOUND, help: "List VMs with: stillpoint vm list" },
  VM_EXISTS: { code: Code.ALREADY_EXISTS, help: "Choose another name, or delete the other VM." },
  LEASE_EXPIRED: {
    code: Code.FAILED_PRECONDITION,
    help: "It goes on by itself when its host is heard again. It can be stopped with --force.",
  },
  START_UNCONFIRMED: {
    code: Code.FAILED_PRECONDITION,
    help: "Ask again: it starts when a scheduler has answered its host and its record names that host.",
  },
  WORKLOAD_LEFT_BEHIND: {
    code: Code.FAILED_PRECONDITION,
    help: "What is left of it on this host may only be deleted.",
  },
  VM_STATE: { code: Code.FAILED_PRECONDITION, help: "Bring the VM into the state that is needed first." },
  VM_HAS_CHECKPOINTS: { code: Code.FAILED_PRECONDITION, help: "Delete them first, or pass --with-checkpoints." },
  VM_HAS_PROTECTED: {
    code: Code.FAILED_PRECONDITION,
    help: "Unprotect them with: stillpoint checkpoint unprotect; or pass --with-protected.",
  },
  STOP_TIMED_OUT: { code: Code.DEADLINE_EXCEEDED, help: "The guest did not power off: try again, or use --force." },
  QEMU_FAILED: { code: Code.INTERNAL, help: "The message quotes QEMU; the VM's log on the host has more." },
  GUEST_AGENT_ABSENT: {
    code: Code.FAILED_PRECONDITION,
    help: "Wait until the guest has started; if it has, install and start qemu-guest-agent in it.",
  },
  GUEST_AGENT_FAILED: { code: Code.UNAVAILABLE, help: "Look at the guest agent in the guest." },

  NO_HOST_FITS: { code: Code.RESOURCE_EXHAUSTED, help: "Ask for less, free capacity, or add a host." },
  HOST_NOT_FOUND: { code: Code.NOT_FOUND, help: "List hosts with: stillpoint host list" },
  DRAIN_INCOMPLETE: {
    code: Code.FAILED_PRECONDITION,
    help: "Stop or delete what still runs there, and drain it again.",
  },
  HOST_EXISTS: {
    code: Code.ALREADY_EXISTS,
    help: "Choose another name; or forget that host first; or make a token for this very name.",
  },
  HOST_NOT_DOWN: {
    code: Code.FAILED_PRECONDITION,
    help: "Drain it with: stillpoint host drain; stop its agent; and wait until it is down.",
  },
  HOST_NOT_EMPTY: {
    code: Code.FAILED_PRECONDITION,
    help: "Delete or move what is on it; or pass --force when it will never come back: that is lost then.",
  },
  AUTHORITY_MISMATCH: {
    code: Code.FAILED_PRECONDITION,
    help: "Check the address; somebody else may answer there. Nothing was told to them.",
  },
  JOIN_TOKEN_INVALID: {
    code: Code.UNAUTHENTICATED,
    help: "A token is good for one machine and not for long: make a new one with: stillpoint host join-token",
  },
  CAPACITY_IN_USE: {
    code: Code.FAILED_PRECONDITION,
    help: "Move or delete workloads first; see what it holds with: stillpoint host get",
  },
  HOST_UNREACHABLE: { code: Code.UNAVAILABLE, help: "Check the agent on that host." },
  CAPABILITY_MISSING: { code: Code.FAILED_PRECONDITION, help: "The host cannot do this; see: stillpoint host get" },
  SPACE_INSUFFICIENT: { code: Code.RESOURCE_EXHAUSTED, help: "Free space on the host." },
  WORKLOAD_NOT_FOUND: { code: Code.NOT_FOUND, help: "The host has no such workload." },

  ENGINE_UNAVAILABLE: { code: Code.UNAVAILABLE, help: "Check that Docker Engine runs on the host and answers." },
  ENGINE_FAILED: { code: Code.INTERNAL, help: "The message quotes the container engine; its log has more." },
  CONTAINER_NOT_FOUND: { code: Code.NOT_FOUND, help: "List containers with: stillpoint container list" },
  CONTAINER_EXISTS: { code: Code.ALREADY_EXISTS, help: "Choose another name, or delete the other container." },
  CONTAINER_ENDED: { code: Code.FAILED_PRECONDITION, help: "See what it printed with: stillpoint container logs" },
  CONTAINER_HAS_CHECKPOINTS: {
    code: Code.FAILED_PRECONDITION,
    help: "Delete them first, or pass --with-checkpoints.",
  },
  CONTAINER_HAS_PROTECTED: {
    code: Code.FAILED_PRECONDITION,
    help: "Unprotect them with: stillpoint checkpoint unprotect; or pass --with-protected.",
  },
  CONTAINER_STATE: {
    code: Code.FAILED_PRECONDITION,
    help: "Bring the container into the state that is needed first.",
  },
  CHECKPOINT_ELSEWHERE: {
    code: Code.FAILED_PRECONDITION,
    help: "If it was pushed, pull it into the workload with: stillpoint checkpoint pull",
  },
  RECOVERY_NOT_NEEDED: { code: Code.ABORTED, help: "Nothing to do: what runs there goes on." },
  RECOVERY_POINT_MISSING: {
    code: Code.FAILED_PRECONDITION,
    help: "Bring its host back, or make it anew from what there is of it; points are taken while it runs.",
  },
  OPERATION_SUPERSEDED: {
    code: Code.ABORTED,
    help: "Look at what the workload is now, and ask again if it is still wanted.",
  },
  VM_NOT_MOVABLE: {
    code: Code.FAILED_PRECONDITION,
    help: "Change what the message names, or delete the checkpoints that it has on its host.",
  },
  CONTAINER_NOT_MOVABLE: {
    code: Code.FAILED_PRECONDITION,
    help: "Change what the message names, or make the container anew elsewhere.",
  },
  OPTION_FORBIDDEN: {
    code: Code.FAILED_PRECONDITION,
    help: "Leave the option out, or have the host's operator allow it.",
  },
  COMMAND_NOT_FOUND: {
    code: Code.INVALID_ARGUMENT,
    help: "Name a program that the image has; no shell is put between.",
  },
  SECRET_KEY_MISSING: {
    code: Code.FAILED_PRECONDITION,
    help: "Have an operator put that key into the file of STILLPOINT_SECRETS_KEY_FILE, and restart the service.",
  },
  SECRET_DAMAGED: { code: Code.INTERNAL, help: "Make it again with the secret's value." },
  PORT_TAKEN: { code: Code.FAILED_PRECONDITION, help: "Publish another port, or free this one on the host." },
  IMAGE_ARCHITECTURE: { code: Code.FAILED_PRECONDITION, help: "Build the image for the host's architecture." },

  IMAGE_NOT_FOUND: { code: Code.NOT_FOUND, help: "List images with: stillpoint image list" },
  IMAGE_INVALID: {
    code: Code.INVALID_ARGUMENT,
    help: "Import a raw, qcow2, vmdk, vhdx, vhd or ova image that stands alone.",
  },
  IMAGE_BACKING_FILE: { code: Code.INVALID_ARGUMENT, help: "Flatten the image first: qemu-img convert." },
  IMAGE_DATA_FILE: { code: Code.INVALID_ARGUMENT, help: "Flatten the image first: qemu-img convert." },
  IMAGE_TOO_LARGE: { code: Code.INVALID_ARGUMENT, help: "Raise the size quota, or use a smaller image." },
  IMAGE_CORRUPT: { code: Code.INTERNAL, help: "Import and push the image again." },
  REGISTRY_LOGIN: {
    code: Code.FAILED_PRECONDITION,
    help: "Set STILLPOINT_REGISTRY_USER and STILLPOINT_REGISTRY_PASSWORD to an account of the registry.",
  },
  REGISTRY_UNREACHABLE: { code: Code.UNAVAILABLE, help: "Check that the registry runs and its address is right." },

  ACCOUNT_NOT_FOUND: { code: Code.NOT_FOUND, help: "List accounts with: stillpoint registry account list" },
  ACCOUNT_EXISTS: { code: Code.ALREADY_EXISTS, help: "Choose another name, or delete the other account." },

  QUOTA_NOT_FOUND: { code: Code.NOT_FOUND, help: "List quotas with: stillpoint registry quota list" },

  CHECKPOINT_NOT_FOUND: { code: Code.NOT_FOUND, help: "List checkpoints with: stillpoint checkpoint list" },
  CHECKPOINT_DISABLED: {
    code: Code.FAILED_PRECONDITION,
    help: "Change the policy with: stillpoint vm set NAME --checkpoint-type production",
  },
  CHECKPOINT_TYPE_REFUSED: {
    code: Code.FAILED_PRECONDITION,
    help: "Ask for the type that the VM's policy allows, or change that with: stillpoint vm set NAME --checkpoint-type",
  },
  CHECKPOINT_NAME_TAKEN: { code: Code.ALREADY_EXISTS, help: "Choose another name." },
  CHECKPOINT_LIMIT: { code: Code.FAILED_PRECONDITION, help: "Delete a checkpoint first." },
  CHECKPOINT_STATE: { code: Code.FAILED_PRECONDITION, help: "Wait until the checkpoint is ready." },
  CHECKPOINT_PROTECTED: {
    code: Code.FAILED_PRECONDITION,
    help: "Unprotect it first with: stillpoint checkpoint unprotect",
  },
  CHECKPOINT_MISFIT: {
    code: Code.FAILED_PRECONDITION,
    help: "Make a new VM from the checkpoint instead.",
  },
  DRILL_FAILED: {
    code: Code.FAILED_PRECONDITION,
    help: "Look at the checkpoint's last drill with: stillpoint checkpoint get; and at the VM's drill command.",
  },
  CHECKPOINT_DAMAGED: { code: Code.INTERNAL, help: "Do not apply it; take another, or restore a copy." },
  FILE_DAMAGED: {
    code: Code.INTERNAL,
    help: "Restore the file from a copy of the host's data. Without one of lease.json, remove it once no older scheduler runs.",
  },
  SCHEDULE_NOT_FOUND: { code: Code.NOT_FOUND, help: "List schedules with: stillpoint schedule list" },
  SCHEDULE_EXISTS: { code: Code.ALREADY_EXISTS, help: "Choose another name, or delete the other schedule." },
  GROUP_NOT_FOUND: { code: Code.NOT_FOUND, help: "List groups with: stillpoint group list" },
  GROUP_EXISTS: { code: Code.ALREADY_EXISTS, help: "Choose another name." },
  GROUP_HAS_CHECKPOINTS: {
    code: Code.FAILED_PRECONDITION,
    help: "Delete them first with: stillpoint group delete-checkpoint",
  },
  PRODUCTION_NOT_REACHED: {
    code: Code.FAILED_PRECONDITION,
    help: "Mend what the reason names, or allow the type production.",
  },
  STANDARD_FAILED: { code: Code.FAILED_PRECONDITION, help: "The message says what blocks saving RAM." },
} as const satisfies Record<string, ErrorRow>;

export type Reason = keyof typeof errorTable;
