/** Whether a path inside of a volume stays there: relative, and without `..` (kubelet's volume/validation). The API server looks at it as well, but not every server is one. */
export function staysBelow(path: string): boolean {
  return path !== '' && !path.startsWith('/') && !path.includes('\0') && !path.split('/').includes('..');
}
