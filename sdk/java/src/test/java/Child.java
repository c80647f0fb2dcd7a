import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;

/** Starts the application in a class loader of its own, as an executable jar does. */
public final class Child {
    public static void main(String[] arguments) throws Exception {
        String[] paths = arguments[0].split(File.pathSeparator);
        URL[] urls = new URL[paths.length];
        for (int i = 0; i < paths.length; i++) {
            urls[i] = new File(paths[i]).toURI().toURL();
        }
        ClassLoader loader = new URLClassLoader(urls, Child.class.getClassLoader());
        Thread.currentThread().setContextClassLoader(loader);
        Class<?> app = loader.loadClass("dev.rolecall.shim.App");
        app.getMethod("main", String[].class).invoke(null, (Object) new String[] {arguments[1], "short"});
    }
}
