/** The markdown of the topics: headings, paragraphs, lists, code blocks and tables; inside of them `code`, **strong**, _emphasis_ and [links](to). */
export type Block =
  | { readonly kind: 'heading'; readonly text: string }
  | { readonly kind: 'paragraph'; readonly text: string }
  | { readonly kind: 'item'; readonly text: string }
  | { readonly kind: 'code'; readonly lines: readonly string[] }
  | { readonly kind: 'table'; readonly rows: readonly (readonly string[])[] };

export function parseMarkdown(text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  let paragraph: string[] = [];
  const flush = (): void => {
    if (paragraph.length > 0) blocks.push({ kind: 'paragraph', text: paragraph.join(' ') });
    paragraph = [];
  };
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? '';
    const last = blocks.at(-1);
    if (line.startsWith('```')) {
      flush();
      const end = lines.indexOf('```', index + 1);
      blocks.push({ kind: 'code', lines: lines.slice(index + 1, end) });
      index = end;
    } else if (/^#+ /.test(line)) {
      flush();
      blocks.push({ kind: 'heading', text: line.replace(/^#+ /, '') });
    } else if (line.startsWith('- ')) {
      flush();
      blocks.push({ kind: 'item', text: line.slice(2) });
    } else if (line.startsWith('  ') && last?.kind === 'item' && paragraph.length === 0) {
      blocks.splice(-1, 1, { kind: 'item', text: `${last.text} ${line.trim()}` });
    } else if (line.startsWith('|')) {
      flush();
      const cells = line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('\\|', '|'));
      if (cells.every((cell) => /^:?-+:?$/.test(cell))) continue;
      if (last?.kind === 'table' && lines[index - 1]?.startsWith('|') === true)
        blocks.splice(-1, 1, { kind: 'table', rows: [...last.rows, cells] });
      else blocks.push({ kind: 'table', rows: [cells] });
    } else if (line.trim() === '') flush();
    else paragraph.push(line.trim());
  }
  flush();
  return blocks;
}

/** A piece of text in one style. */
export interface Span {
  readonly style: 'plain' | 'code' | 'strong' | 'emphasis';
  readonly text: string;
}

/** The spans of a text. Of a link its text stays. */
export function parseSpans(text: string): Span[] {
  const plain = text.replaceAll(/\[([^\]]+)\]\(([^)]+)\)/g, '$1');
  const spans: Span[] = [];
  for (const piece of plain.split(/(`[^`]+`|\*\*[^*]+\*\*|(?<![\w])_[^_]+_(?![\w]))/)) {
    if (piece.startsWith('`')) spans.push({ style: 'code', text: piece.slice(1, -1) });
    else if (piece.startsWith('**')) spans.push({ style: 'strong', text: piece.slice(2, -2) });
    else if (/^_[^_]+_$/.test(piece)) spans.push({ style: 'emphasis', text: piece.slice(1, -1) });
    else if (piece !== '') spans.push({ style: 'plain', text: piece });
  }
  return spans;
}
