/**
 * Variables that describe the machine and its user rather than the application: they stay the laptop's.
 * - PATH, HOME, USER, SHELL, TERM: the five; programs are the laptop's, and so is its terminal.
 * - LOGNAME goes with USER; PWD, OLDPWD and SHLVL are the shell's own account of itself.
 * - TMPDIR, XDG_*: folders that exist here and not in the image.
 * - LANG, LC_*, TZ stay unless the container sets them: then they are the application's.
 * - SSH_AUTH_SOCK, DISPLAY, WAYLAND_DISPLAY, DBUS_SESSION_BUS_ADDRESS: sockets of this session; COLORTERM,
 *   TERM_PROGRAM: of this terminal.
 */
const laptopOnly = new Set(
  (
    'PATH HOME USER LOGNAME SHELL TERM COLORTERM TERM_PROGRAM PWD OLDPWD SHLVL TMPDIR ' +
    'SSH_AUTH_SOCK DISPLAY WAYLAND_DISPLAY XAUTHORITY DBUS_SESSION_BUS_ADDRESS'
  ).split(' '),
);

/** Whether a variable of a container stays behind: the laptop's own value holds, or none. */
export function staysLaptops(name: string): boolean {
  return laptopOnly.has(name) || name.startsWith('XDG_');
}

/**
 * The environment of a command on the laptop that stands for a container: the laptop's, overlaid with the container's
 * but for what describes the machine. Where the laptop has no such variable it stays unset.
 */
export function mergeForLaptop(
  variables: Iterable<readonly [string, string]>,
  laptop: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const merged = new Map<string, string>();
  for (const [name, value] of Object.entries(laptop)) if (value !== undefined) merged.set(name, value);
  for (const [name, value] of variables) if (!staysLaptops(name)) merged.set(name, value);
  return Object.fromEntries(merged);
}
