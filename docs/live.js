// The explorer takes the place of its picture when a visitor asks for it: until then nothing of it is loaded.
document.querySelector("#live a").addEventListener("click", (event) => {
  const link = event.currentTarget;
  const frame = document.createElement("iframe");
  Object.assign(frame, { src: link.href, title: "The explorer of an atlas of Fashion-MNIST" });
  frame.style.cssText = "width: 100%; height: min(46rem, 88vh); border: 0; border-radius: 4px";
  link.replaceWith(frame);
  event.preventDefault();
});
