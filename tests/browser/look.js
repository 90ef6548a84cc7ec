// What a browser makes of the page, as facts: run in the page, answers one object. The page itself has no script.
(() => {
  const numbers = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const seen = (node) => {
    const style = getComputedStyle(node);
    const { width, height } = node.getBoundingClientRect();
    return style.visibility !== "hidden" && style.display !== "none" && width > 0 && height > 0;
  };
  const clear = (colour) => colour === "none" || (numbers(colour).length === 4 && numbers(colour)[3] === 0);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!clear(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const within = (inner, outer, by = 0.5) =>
    inner.left >= outer.left - by && inner.right <= outer.right + by &&
    inner.top >= outer.top - by && inner.bottom <= outer.bottom + by;

  // The last box of the picture that was drawn before a text and holds its middle.
  const box = (text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    return [...text.ownerSVGElement.querySelectorAll("rect")].filter((rect) => {
      const place = rect.getBoundingClientRect();
      const before = rect.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
      return before && place.left <= x && x <= place.right && place.top <= y && y <= place.bottom;
    }).pop();
  };
  const words = (node) => node.textContent.trim().slice(0, 60);
  const own = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());

  const texts = [...document.body.querySelectorAll("*")].filter((node) =>
    own(node) && seen(node) && !["title", "style"].includes(node.localName));
  const readable = texts.map((node) => {
    const svg = node.ownerSVGElement;
    const filled = svg && box(node);
    const paper = filled && !clear(getComputedStyle(filled).fill) ? getComputedStyle(filled).fill : behind(svg || node);
    const ink = svg ? getComputedStyle(node).fill : getComputedStyle(node).color;
    return { words: words(node), contrast: contrast(ink, paper), size: parseFloat(getComputedStyle(node).fontSize) };
  });

  const badges = [...document.querySelectorAll("svg a")].map((link) => {
    const shape = link.querySelector(".shape");
    const place = shape.getBoundingClientRect();
    const number = link.querySelector("text");
    const style = getComputedStyle(shape);
    return {
      words: number.textContent,
      target: link.href.baseVal,
      found: !!document.getElementById(link.href.baseVal.slice(1)),
      name: link.querySelector("title").textContent,
      visible: seen(shape) && within(place, link.ownerSVGElement.getBoundingClientRect(), 1.5),
      inside: within(number.getBoundingClientRect(), place),
      width: place.width, height: place.height, left: place.left, top: place.top, right: place.right, bottom: place.bottom,
      // A badge has a fill or an edge that stands out from what is behind it.
      stands: Math.max(...[style.fill, style.stroke].filter((colour) => !clear(colour))
        .map((colour) => contrast(colour, behind(link.ownerSVGElement)))),
    };
  });

  const targets = [...document.querySelectorAll("a, summary")].filter(seen).map((node) => {
    const { width, height } = (node.querySelector(".shape") || node).getBoundingClientRect();
    return { words: words(node), href: node.getAttribute("href"), width, height };
  });

  const wide = [...document.body.querySelectorAll("*")].filter((node) =>
    seen(node) && !node.closest("svg") && !node.matches(".unseen, .skip") &&
    (node.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 ||
      node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== "inline" && node.clientWidth > 0));

  const cut = [...document.querySelectorAll("svg text")].filter((text) => {
    const outer = (box(text) || text.ownerSVGElement).getBoundingClientRect();
    const inner = text.getBoundingClientRect();
    return inner.left < outer.left || inner.right > outer.right;
  });

  const tree = (node) => [node.localName, [...node.children].map(tree)];

  return {
    scrolls: [document.documentElement.scrollWidth, document.documentElement.clientWidth],
    wide: wide.map((node) => `${node.localName} ${words(node)}`),
    cut: cut.map(words),
    readable, badges, targets,
    headings: [...document.querySelectorAll("h1, h2, h3, h4")].filter((node) => node.checkVisibility())
      .map((node) => Number(node.localName[1])),
    tree: tree(document.documentElement),
    mode: document.compatMode, language: document.documentElement.lang, title: document.title,
    paper: getComputedStyle(document.body).backgroundColor,
    scripts: document.scripts.length,
  };
})()
